/** Small questions about text that people see. */

/** True if the text is one line of visible characters: no control, line or paragraph separator, no lone surrogate. */
export function isDisplaySafe(text: string): boolean {
  return text.isWellFormed() && !/[\p{Cc}\u2028\u2029]/u.test(text);
}

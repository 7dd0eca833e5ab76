/** What a bench has around it: somewhere to say what it is doing, and the end of all that it started. */

export type Scene = {
  /** Says what is going on, to people. */
  say(text: string): void;
  /** Runs when the bench ends, however it ends; the newest first. */
  closing(close: () => unknown): void;
  /** Closes everything; twice is not an error. */
  close(): Promise<void>;
};

/** A scene that says things on stderr, so that stdout is the table and the last line. */
export function createScene(): Scene {
  const closers: (() => unknown)[] = [];
  let closed: Promise<void> | null = null;
  async function closeAll(): Promise<void> {
    for (let close = closers.pop(); close !== undefined; close = closers.pop()) {
      try {
        await close();
      } catch (error) {
        process.stderr.write(`while closing: ${String(error)}\n`);
      }
    }
  }
  return {
    say: (text) => void process.stderr.write(`  ${text}\n`),
    closing: (close) => void closers.push(close),
    close() {
      closed ??= closeAll();
      return closed;
    },
  };
}

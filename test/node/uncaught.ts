import { onTestFinished } from "vitest";
import { Recorder } from "../support/sockets.js";

/** The messages of the errors that nobody catches from now on, which would end another process; until the test has ended. */
export function uncaughtErrors(): Recorder<string> {
  const thrown = new Recorder<string>();
  const previous = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => thrown.add(error.message));
  onTestFinished(() => {
    process.removeAllListeners("uncaughtException");
    for (const listener of previous) process.on("uncaughtException", listener);
  });
  return thrown;
}

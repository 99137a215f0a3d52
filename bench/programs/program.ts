/** What all measured programs share: one JSON argument, one JSON object a line on stdout, and an end when the parent ends. */

/** What the address of a local socket begins with; its path follows. */
export const localPrefix = "unix:";

/** The parameters in the one argument of the program. */
export function parametersOf<Parameters>(): Parameters {
  return JSON.parse(process.argv[2] ?? "{}") as Parameters;
}

/** Reports fields to the parent process. */
export function report(fields: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`${JSON.stringify(fields)}\n`);
}

/** Milliseconds on a clock that all processes of this machine share. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Reports that this member of a wire-up has all its links, and how much CPU time its process has used since its start. */
export function reportComplete(): void {
  const { user, system } = process.cpuUsage();
  report({ complete: nowMs(), cpuMs: (user + system) / 1000 });
}

/** Exits when the parent does, which ends stdin. `onInput` gets what the parent writes. */
export function exitWithParent(onInput: (text: string) => void = () => {}): void {
  process.stdin
    .setEncoding("utf8")
    .on("data", onInput)
    .on("end", () => process.exit(0));
}

/** Resolves after so many milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The median and the 99th percentile. Sorts the samples. */
export function percentilesOf(samples: number[]): { readonly p50: number; readonly p99: number } {
  samples.sort((a, b) => a - b);
  const at = (share: number): number => samples[Math.min(samples.length - 1, Math.floor(samples.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

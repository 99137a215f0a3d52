/**
 * What all measured programs have in common: one JSON argument, one JSON object a line on stdout, and the rule that a
 * program ends when whoever started it has gone.
 */

/** What the program was told to do, by the one argument that it is given. */
export function parametersOf<Parameters>(): Parameters {
  return JSON.parse(process.argv[2] ?? "{}") as Parameters;
}

/** Says something to whoever started the program. */
export function tell(fields: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`${JSON.stringify(fields)}\n`);
}

/** Milliseconds on a clock that all processes of this machine share. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Ends with whoever started it, so that nothing stays behind. Hears what that one says meanwhile. */
export function followStarter(hear: (text: string) => void = () => {}): void {
  process.stdin
    .setEncoding("utf8")
    .on("data", hear)
    .on("end", () => process.exit(0));
}

/** Resolves after so many milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The middle and the 99th percentile of what one program has measured. Sorts the samples. */
export function percentilesOf(samples: number[]): { readonly p50: number; readonly p99: number } {
  samples.sort((a, b) => a - b);
  const at = (share: number): number => samples[Math.min(samples.length - 1, Math.floor(samples.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

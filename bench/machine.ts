import { cpus, release, type as systemType, totalmem } from "node:os";

/** The machine and the versions that were measured. */
export interface MachineInfo {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  /** Of Node.js, fullmesh, and other libraries. */
  readonly versions: Readonly<Record<string, string>>;
}

/** This machine, with these versions besides that of Node.js. */
export function thisMachine(versions: Readonly<Record<string, string>>): MachineInfo {
  const cores = cpus();
  return {
    cpu: cores[0]?.model.trim() ?? "unknown",
    cores: cores.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${systemType()} ${release()}`,
    versions: { "Node.js": process.version.slice(1), ...versions },
  };
}

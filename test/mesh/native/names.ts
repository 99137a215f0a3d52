import type { Address } from "../../../src/protocol/address.js";
import type { Entry, Member as Listed } from "../../../src/protocol/directory.js";
import type { ControlOf } from "../../../src/protocol/native/control.js";

export const serverAddress: Address = "10.0.0.250:80";
export const logId = "1".repeat(32);

export function idOf(number: number): string {
  return String(number).padStart(32, "0");
}

export function listed(number: number, order = number): Listed {
  return { id: idOf(number), order, address: `10.0.0.${number}:7000`, dialect: "native" };
}

/** The hello of one member to another. */
export function hello(attempt: number, from = 1, to = 2, since = 0, received = 0): ControlOf<"hello"> {
  return { type: "hello", mesh: "m", from: idOf(from), to: idOf(to), attempt, since, received };
}

export function joined(member: Listed, revision = member.order): Entry {
  return { type: "joined", revision, ...member };
}

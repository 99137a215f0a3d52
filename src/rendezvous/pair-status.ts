import type { Address } from "../protocol/address.js";
import type { EndReport, PairEnd, PairStatus } from "../protocol/status.js";
import { isAttested, ordered } from "./completeness-tracker.js";
import type { MemberRecord } from "./member-record.js";
import type { Mesh } from "./mesh.js";
import type { Measurement, Measurements } from "./native/measurements.js";

/** The records of two listed members in join order; undefined if they are not two, or one is not listed. */
export function recordsOf(mesh: Mesh, a: Address, b: Address): [MemberRecord, MemberRecord] | undefined {
  const [one, other] = [a, b].map((address) => {
    const member = mesh.members.directory.members.find((each) => each.address === address);
    return member && mesh.members.get(member.id);
  });
  return one === undefined || other === undefined || one === other ? undefined : ordered(one, other);
}

/** What is known of a pair. Times are on the machine's clock. */
export function pairStatusOf(
  mesh: string,
  [earlier, later]: readonly [MemberRecord, MemberRecord],
  measurements: Measurements,
  now: number,
): PairStatus {
  const ends: [PairEnd, PairEnd] = [
    endOf(earlier, later, measurements.of(earlier, later.id, now)),
    endOf(later, earlier, measurements.of(later, earlier.id, now)),
  ];
  return { mesh, isUp: isAttested(earlier, later), ends };
}

function endOf(own: MemberRecord, other: MemberRecord, measured: Measurement | undefined): PairEnd {
  const { address, dialect, candidate } = own;
  const report = reportOf(own, other);
  const isMeasured = measured !== undefined && report?.stage === "up";
  return {
    address,
    ...(candidate.name === undefined ? {} : { name: candidate.name }),
    dialect,
    ...(report === undefined ? {} : { report }),
    ...(isMeasured && measured.roundTripMs !== undefined ? { roundTripMs: measured.roundTripMs } : {}),
    ...(isMeasured ? { queuedBytes: measured.queuedBytes } : {}),
  };
}

function reportOf({ up, down }: MemberRecord, { id }: MemberRecord): EndReport | undefined {
  const reported = up.get(id);
  return reported === undefined ? down.get(id) : { stage: "up", ...reported };
}

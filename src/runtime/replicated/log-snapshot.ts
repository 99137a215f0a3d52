import type { Limits } from "../../core/limits.js";
import type { Id } from "../../protocol/directory.js";
import { LogFold } from "./log-fold.js";
import type { MeshImage } from "./store-image.js";
import { below, entryKey, headKey, meshKey, reportKey, snapshotKey } from "./store-keys.js";
import type { Step } from "./store-writer.js";

/** Entries of so many writers, and so many reports, are deleted by one snapshot at most: a store takes 128 operations. */
const mostDeletes = 60;

/**
 * The transaction that writes the state of a log as it was read at this revision, and deletes what that covers; undefined if
 * there is no log, or keys of it make no sense. Entries that come meanwhile stay.
 */
export function snapshotOf(
  mesh: string,
  image: MeshImage,
  revision: number,
  limits: Pick<Limits, "tombstones">,
): Step | undefined {
  if (image.head === undefined || image.bad !== undefined) return undefined;
  const { head, modified } = image.head;
  const fold = new LogFold(head, limits, image.snapshot?.snapshot);
  const newest = new Map<Id, number>();
  for (const { writer, number, content } of image.entries) {
    fold.add(writer, number, content);
    newest.set(writer, number);
  }
  const key = snapshotKey(mesh);
  const ofOthers = below(meshKey(mesh, "entry"));
  const ofLog = below(meshKey(mesh, "entry", head.log));
  const covered = Array.from(newest, ([writer, number]) => ({
    key: entryKey(mesh, head.log, writer, 1),
    end: entryKey(mesh, head.log, writer, number + 1),
  }));
  // A member may have come back meanwhile, and have reported anew.
  const stale = image.reports
    .filter(({ member, writer }) => !fold.isAttached(member, writer))
    .slice(0, mostDeletes)
    .map(({ member, writer, modified: written }) => ({ key: reportKey(mesh, member, writer), written }));
  const deletes = [...covered.slice(0, mostDeletes), ...stale.map((each) => ({ key: each.key }))];
  return {
    conditions: [
      { key, of: "modified", is: "equal", revision: image.snapshot?.modified ?? 0 },
      { key: headKey(mesh), of: "modified", is: "equal", revision: modified },
      ...stale.map((each) => ({ key: each.key, of: "modified", is: "equal", revision: each.written }) as const),
    ],
    operations: [
      { type: "put", key, value: JSON.stringify(fold.snapshot(revision, newest)) },
      { type: "delete", key: ofOthers.key, end: ofLog.key },
      { type: "delete", key: ofLog.end, end: ofOthers.end },
      ...deletes.map((range) => ({ type: "delete", ...range }) as const),
    ],
  };
}

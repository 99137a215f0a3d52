import { checkLinearizable, type Operation, type Verdict } from "./linearizability.js";

/** What one client has done to a mesh, and what came of it. Times are of one clock; without `endedAt` nothing did. */
export type ClientAct = {
  readonly id: string;
  readonly begunAt: number;
  readonly endedAt?: number;
} /** `order`: it was let in. Without it, and without `refused`, nobody knows. */ & (
  | { readonly act: "join"; readonly order?: number; readonly refused?: string }
  /** It has left, or has died: it goes at some moment from then on. */
  | { readonly act: "leave" | "die" }
  | { readonly act: "claim"; readonly key: string; readonly token?: number }
  | { readonly act: "release"; readonly key: string; readonly token: number }
);

/** Who is in the mesh, with which order, and who holds which key. */
interface MeshModel {
  readonly members: ReadonlyMap<string, number>;
  readonly holders: ReadonlyMap<string, { readonly id: string; readonly token: number }>;
}

/** Codes that say that there is no slot. */
const fullCodes = new Set(["MESH_SEALED", "TOO_MANY_MEMBERS"]);

/**
 * Whether what clients saw of one mesh can have happened one after the other: orders and tokens rise, each is given once, no
 * more members than the capacity, one holder of a key at a time, nobody is refused for a lack of slots while there are some.
 */
export function checkHistory(acts: readonly ClientAct[], capacity: number): Verdict {
  const operations = acts.map((act) => operationOf(act, capacity));
  return checkLinearizable<MeshModel>(operations, { members: new Map(), holders: new Map() }, keyOf);
}

function keyOf({ members, holders }: MeshModel): string {
  return [[...members.keys()].sort(), [...holders].map(([key, { token }]) => `${key}=${token}`).sort()].join("|");
}

function operationOf(act: ClientAct, capacity: number): Operation<MeshModel> {
  const { id, begunAt, endedAt = Number.POSITIVE_INFINITY } = act;
  const base = { name: nameOf(act), begunAt, endedAt };
  switch (act.act) {
    case "join": {
      const { order, refused } = act;
      if (refused !== undefined && fullCodes.has(refused)) {
        return { ...base, isReading: true, apply: (state) => (state.members.size >= capacity ? state : undefined) };
      }
      if (refused !== undefined) return { ...base, isReading: true, apply: (state) => state };
      return {
        ...base,
        ...(order === undefined ? { isOptional: true } : { stamp: order }),
        apply: ({ members, holders }) => {
          if (members.size >= capacity || members.has(id)) return undefined;
          return { members: new Map(members).set(id, order ?? 0), holders };
        },
      };
    }
    case "leave":
    case "die":
      return {
        ...base,
        // Whoever has died is lost some time later.
        ...(act.act === "die" ? { endedAt: Number.POSITIVE_INFINITY, isOptional: true } : {}),
        apply: ({ members, holders }) => {
          if (!members.has(id)) return undefined;
          const left = new Map(members);
          left.delete(id);
          // A claim outlives whoever is lost; who leaves gives it up.
          return { members: left, holders: new Map([...holders].filter(([, holder]) => holder.id !== id)) };
        },
      };
    case "claim": {
      const { key, token } = act;
      return {
        ...base,
        ...(token === undefined ? { isOptional: true } : { stamp: token }),
        apply: ({ members, holders }) => {
          if (holders.has(key) || !members.has(id)) return undefined;
          return { members, holders: new Map(holders).set(key, { id, token: token ?? 0 }) };
        },
      };
    }
    default: {
      const { key, token } = act;
      return {
        ...base,
        apply: ({ members, holders }) => {
          // It may have run out, or be given up by leaving, before.
          if (holders.get(key)?.token !== token) return { members, holders };
          const rest = new Map(holders);
          rest.delete(key);
          return { members, holders: rest };
        },
      };
    }
  }
}

function nameOf({ act, id, ...rest }: ClientAct): string {
  return `${act} of ${id.slice(0, 8)} ${JSON.stringify(rest)}`;
}

import { type Logger, loggerOption } from "../api/log.js";
import {
  addressOption,
  badOption,
  choiceOption,
  limitsOption,
  millisecondsOption,
  refuseUnknown,
  transportOption,
} from "../api/options.js";
import { FullmeshError } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import type { MemberRules } from "../mesh/types.js";
import { newId, newSeed } from "../nodejs/random.js";
import type { Dialect, Meta } from "../protocol/directory.js";
import { isMeta, isName } from "../protocol/native/fields.js";
import type { TransportPort } from "../runtime/ports.js";
import { type Contract, type ContractSchemas, contractOption } from "./contract.js";
import { type GangPlace, gangOption, orphanedMs } from "./gang.js";

/** The mesh of whoever names none, and of classic members. */
export const defaultMesh = "default";

/** How a node is to behave. */
export interface NodeOptions<C extends Contract = Contract> {
  /** The name of the mesh, default `default`. One server serves many. At most 64 bytes of UTF-8. */
  readonly mesh?: string;
  /** What people are shown instead of an address. At most 64 bytes of UTF-8. */
  readonly name?: string;
  /** What this member says of itself in the directory: an object of at most 1,024 bytes as JSON. */
  readonly meta?: Meta;
  /**
   * Which copy of a gang this node is, for a server with `gangSize`. Its rank is then `node.rank` for life, and `rank` in its
   * meta. Default: none; `join` without an address takes it from `FULLMESH_RANK` and `FULLMESH_SIZE`.
   */
  readonly gang?: GangPlace;
  /** What this node speaks, default `native`. A native node also links with classic members. */
  readonly dialect?: Dialect;
  /**
   * 32 random bytes in base64url, as `fullmesh secret` prints. With it every connection is encrypted, and both ends prove
   * that they have it. Default: none, and then everything is in the open.
   */
  readonly secret?: string;
  /**
   * For how many milliseconds a native node looks for a server that has gone, before it ends. Default: for ever, and 10 s in
   * a gang. Its links are kept meanwhile.
   */
  readonly serverLostMs?: number;
  /** The address to register, if others reach this node by another one than it listens on. Default: where it listens. */
  readonly advertise?: string;
  /** Listen beyond loopback although nothing is encrypted, default false. */
  readonly insecure?: boolean;
  /**
   * What the members send one another, as `defineContract` returns it. The compiler then knows topics, payloads and replies,
   * and what comes from peers is validated where it has a schema. Default: none, and everything is `unknown`.
   */
  readonly contract?: C | undefined;
  /** Where log records go. Default: warnings and errors to stderr, one line each; `false` is silence. */
  readonly logger?: Logger | false;
  /** Bounds that differ from the defaults; see `defaultLimits`. */
  readonly limits?: Partial<Limits>;
}

/** Those of `JoinOptions`, so that `join` can hand its own on. */
const nodeOptionNames = [
  ...["mesh", "name", "meta", "gang", "dialect", "secret", "serverLostMs"],
  ...["listen", "advertise", "insecure", "limits", "logger", "signal", "timeoutMs", "setup", "contract"],
];

/** What a node is made of. */
export interface NodeConfig {
  readonly rules: MemberRules;
  readonly transport: TransportPort;
  readonly gang: GangPlace | undefined;
  readonly logger: Logger | undefined;
  /** Undefined if nothing is to be validated. */
  readonly schemas: ContractSchemas | undefined;
}

/** Checks the options. Throws `BAD_OPTION` for a value that an option cannot take, `BAD_SECRET`, `SECRET_IN_CLASSIC`. */
export function nodeConfig(options: NodeOptions): NodeConfig {
  refuseUnknown(options, nodeOptionNames);
  const limits = limitsOption(options.limits);
  const { advertise, name, secret } = options;
  const gang = gangOption(options.gang);
  const meta = metaOf(options.meta, gang);
  const mesh = options.mesh ?? defaultMesh;
  const dialect = choiceOption<Dialect>("dialect", options.dialect ?? "native", ["native", "classic"]);
  if (typeof mesh !== "string" || !isName(mesh))
    badOption("mesh", "a name of 1 to 64 bytes without control characters", mesh);
  if (name !== undefined && (typeof name !== "string" || !isName(name)))
    badOption("name", "a name of 1 to 64 bytes without control characters", name);
  if (dialect === "classic") requirePlain(options, mesh);
  const { transport, isKeyed } = transportOption(secret, (identity) => identity.mesh === mesh, limits.keepAliveMs);
  const serverLostMs = options.serverLostMs ?? (gang === undefined ? undefined : orphanedMs);
  const rules: MemberRules = {
    dialect,
    mesh,
    isKeyed,
    serverLostMs:
      serverLostMs === undefined ? Number.POSITIVE_INFINITY : millisecondsOption("serverLostMs", serverLostMs),
    ...(name === undefined ? {} : { name }),
    ...(meta === undefined ? {} : { meta }),
    ...(advertise === undefined ? {} : { advertise: addressOption("advertise", advertise) }),
    draw: newId,
    allocate: allocateUncleared,
    seed: newSeed(),
    limits,
  };
  const schemas = contractOption(options.contract);
  return { rules, transport, gang, logger: loggerOption(options.logger), schemas };
}

/** What this member says of itself, its rank in a gang included. */
function metaOf(meta: Meta | undefined, gang: GangPlace | undefined): Meta | undefined {
  if (meta !== undefined && !isMeta(meta)) badOption("meta", "an object of at most 1,024 bytes as JSON", meta);
  if (gang === undefined) return meta;
  if (meta !== undefined && "rank" in meta) badOption("meta.rank", "absent in a gang, which has ranks", meta.rank);
  const ranked = { ...meta, rank: gang.rank };
  return isMeta(ranked)
    ? ranked
    : badOption("meta", "an object of at most 1,024 bytes as JSON, the rank included", meta);
}

/** What a classic node cannot say or do. */
function requirePlain({ secret, name, meta, gang }: NodeOptions, mesh: string): void {
  if (gang !== undefined) badOption("gang", "absent with the classic dialect", gang);
  if (secret !== undefined) throw new FullmeshError("SECRET_IN_CLASSIC", "a classic node cannot prove a secret");
  if (mesh !== defaultMesh) badOption("mesh", `"${defaultMesh}" with the classic dialect`, mesh);
  if (name !== undefined || meta !== undefined) badOption("name", "absent with the classic dialect", name ?? "meta");
}

/** Memory that nobody has cleared, and that no pool shares. As plain bytes: a Buffer among them would slow all others down. */
function allocateUncleared(bytes: number): Uint8Array {
  return new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer);
}

/**
 * The messages of etcd's JSON gateway that are used here, from version 3.4 on. Keys and values are base64; whole numbers of 64 bits
 * are decimal text; what is 0, false or empty is left out.
 */

export interface Header {
  readonly cluster_id: string;
  readonly revision?: string;
}

export interface Answer {
  readonly header?: Header;
}

export interface KeyValue {
  readonly key: string;
  readonly value?: string;
  readonly create_revision?: string;
  readonly mod_revision?: string;
}

export interface Compare {
  readonly key: string;
  readonly range_end?: string;
  readonly target: "CREATE" | "MOD";
  readonly result: "EQUAL" | "GREATER";
  readonly create_revision?: string;
  readonly mod_revision?: string;
}

export type RequestOperation =
  | { readonly request_put: { readonly key: string; readonly value: string; readonly lease?: string } }
  | { readonly request_delete_range: { readonly key: string; readonly range_end?: string } }
  | {
      readonly request_range: {
        readonly key: string;
        readonly range_end?: string;
        readonly limit?: string;
        readonly revision?: string;
      };
    };

export interface TransactionRequest {
  readonly compare: readonly Compare[];
  readonly success: readonly RequestOperation[];
  readonly failure: readonly RequestOperation[];
}

export interface TransactionAnswer extends Answer {
  readonly succeeded?: boolean;
  readonly responses?: readonly {
    readonly response_range?: { readonly kvs?: readonly KeyValue[]; readonly more?: boolean };
  }[];
}

export interface LeaseAnswer extends Answer {
  readonly ID: string;
  /** In seconds. Missing in the answer about a lease that has run out. */
  readonly TTL?: string;
}

export interface StatusAnswer extends Answer {
  readonly version?: string;
}

export interface TokenAnswer extends Answer {
  readonly token: string;
}

export interface WatchRequest {
  readonly create_request: { readonly key: string; readonly range_end: string; readonly start_revision: string };
}

export interface WatchAnswer extends Answer {
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly cancel_reason?: string;
  readonly compact_revision?: string;
  /** A put has no type. */
  readonly events?: readonly { readonly type?: "DELETE"; readonly kv: KeyValue }[];
}

/** The codes of gRPC, in answers that are errors. */
export const grpcCodes = {
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  failedPrecondition: 9,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

export interface GatewayError {
  readonly code: number;
  readonly message: string;
}

/** The error that an answer is, in one of the forms that it has in different versions; undefined if it is none. */
export function gatewayError(answer: object): GatewayError | undefined {
  // A stream wraps its error; an error of version 3.4 repeats its text under that name.
  const { error } = answer as { readonly error?: unknown };
  const body = (typeof error === "object" && error !== null ? error : answer) as Record<string, unknown>;
  const code = body.grpc_code ?? body.code;
  if (typeof code !== "number") return undefined;
  return { code, message: typeof body.message === "string" ? body.message : `code ${code}` };
}

import type { Limits } from "../../core/limits.js";
import type { Member } from "../../protocol/directory.js";
import type { Control } from "../../protocol/native/control.js";
import type { SessionEvent } from "../server-session.js";

/** What no server may say. */
export interface ProtocolViolation {
  readonly type: "impossible";
  readonly detail: string;
}

/** Understands what a server tells a member that it has let in; a directory may come in several parts. */
export class DirectoryAssembler {
  readonly #limits: Limits;
  /** The directory that the member has. */
  readonly #listed: { readonly size: number };
  /** Parts of a directory of which more is to come. */
  #parts: Member[] = [];

  constructor(limits: Limits, listed: { readonly size: number }) {
    this.#limits = limits;
    this.#listed = listed;
  }

  /** The news in a message; `more` if it is only a part of some, undefined if it is nothing that a member is told. */
  take(control: Control): SessionEvent | ProtocolViolation | "more" | undefined {
    const { directoryMembers } = this.#limits;
    switch (control.type) {
      case "directory": {
        for (const member of control.members) this.#parts.push(member);
        if (this.#parts.length > directoryMembers) return this.#tooMany();
        if (control.more === true) return "more";
        const members = this.#parts;
        this.#parts = [];
        const twice = namedTwice(members);
        if (twice !== undefined) return { type: "impossible", detail: `the directory names ${twice} twice` };
        return { type: "directory", members, revision: control.revision };
      }
      case "entries":
        if (this.#listed.size + control.entries.length > directoryMembers) return this.#tooMany();
        return control;
      case "complete":
      case "degraded":
        return control;
      default:
        return undefined;
    }
  }

  #tooMany(): ProtocolViolation {
    this.reset();
    return { type: "impossible", detail: `the directory names more than ${this.#limits.directoryMembers} members` };
  }

  /** The connection is gone; what it has said in part is not said. */
  reset(): void {
    this.#parts = [];
  }
}

/** The first id that stands there a second time. */
function namedTwice(members: readonly Member[]): string | undefined {
  const ids = new Set<string>();
  for (const { id } of members) {
    if (ids.has(id)) return id;
    ids.add(id);
  }
  return undefined;
}

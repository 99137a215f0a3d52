import type { Member } from "../../protocol/directory.js";
import type { Control } from "../../protocol/native/control.js";
import type { SessionNews } from "../session.js";

/** Understands what a server tells a member that it has let in; a directory may come in several parts. */
export class Hearing {
  /** Parts of a directory of which more is to come. */
  #parts: Member[] = [];

  /** The news in a message; `more` if it is only a part of some, undefined if it is nothing that a member is told. */
  take(control: Control): SessionNews | "more" | undefined {
    switch (control.type) {
      case "directory": {
        for (const member of control.members) this.#parts.push(member);
        if (control.more === true) return "more";
        const members = this.#parts;
        this.#parts = [];
        return { type: "directory", members, revision: control.revision };
      }
      case "entries":
      case "complete":
      case "degraded":
        return control;
      default:
        return undefined;
    }
  }

  /** The connection is gone; what it has said in part is not said. */
  reset(): void {
    this.#parts = [];
  }
}

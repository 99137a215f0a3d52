import type { Identity } from "../../../src/core/connections.js";
import { defaultLimits, type Limits } from "../../../src/core/limits.js";
import type { MemberRules } from "../../../src/mesh/types.js";
import { type Address, endpointOf } from "../../../src/protocol/address.js";
import { listed, serverAddress } from "./names.js";
import { Node } from "./node.js";
import { Wire } from "./wire.js";

/**
 * Members, and between them a network and a server that do nothing by themselves: the test moves every message, breaks
 * every connection, and lets the time pass.
 */
export class World {
  now = 0;
  readonly wires: Wire[] = [];
  readonly nodes: Node[] = [];
  readonly limits: Limits;
  /** By which address the dialer of every connection is seen. */
  localHost = "10.0.0.99";
  /** The server answers pings. */
  isServerAwake = true;

  constructor(limits: Partial<Limits> = {}) {
    this.limits = { ...defaultLimits, ...limits };
  }

  node(number: number, rules: Partial<MemberRules> = {}): Node {
    const node = new Node(this, number, rules);
    this.nodes.push(node);
    return node;
  }

  /** One member, admitted to a mesh of these. */
  admitted(number: number, members: readonly number[]): Node {
    return this.node(number)
      .begin()
      .admit(members.map((member) => listed(member)));
  }

  /** So many members, all admitted, that know one another and have not said a word to one another yet. */
  mesh(count: number, rules: Partial<MemberRules> = {}): Node[] {
    const numbers = Array.from({ length: count }, (_, index) => index + 1);
    const nodes = numbers.map((number) => this.node(number, rules));
    const members = numbers.map((number) => listed(number));
    for (const node of nodes) node.begin().admit(members);
    return nodes;
  }

  /** Two members with a link that is up. */
  pair(rules: Partial<MemberRules> = {}): { owner: Node; later: Node; wire: Wire } {
    const [owner, later] = this.mesh(2, rules) as [Node, Node];
    const wire = owner.newest(later).flow();
    return { owner, later, wire };
  }

  /** The test calls a member, as somebody whom it plays. */
  call(node: Node, secured?: Identity): Wire {
    const wire = this.wire(node.address);
    wire.connect();
    const { stand } = wire.acceptor;
    if (secured !== undefined && stand !== undefined) {
      node.handle({ type: "secured", connection: stand.connection, identity: secured, cipher: "TLSv1.3" });
    }
    return wire;
  }

  wire(to: Address): Wire {
    const wire = new Wire(to, () => this.#reach(wire));
    this.wires.push(wire);
    return wire;
  }

  /** Lets time pass, and every timer fire at its moment. Nothing arrives meanwhile but what the server says to a ping. */
  pass(ms: number): void {
    this.#elapse(ms, () => {});
  }

  /** The same, and everything arrives at once. */
  live(ms: number): void {
    this.flow();
    this.#elapse(ms, () => this.flow());
  }

  /** Lets everything arrive everywhere, and every dial succeed at which somebody listens. */
  flow(): void {
    for (let isQuiet = false; !isQuiet; ) {
      isQuiet = true;
      for (const wire of [...this.wires]) {
        if (wire.to === serverAddress || (!wire.isConnected && wire.dialer.isClosed)) continue;
        if (wire.isConnected && wire.dialer.onItsWay.length + wire.acceptor.onItsWay.length === 0) continue;
        wire.flow();
        isQuiet = false;
      }
    }
  }

  #elapse(ms: number, afterEach: () => void): void {
    const end = this.now + ms;
    for (let steps = 0; ; steps += 1) {
      const next = Math.min(...this.nodes.map((node) => node.timeout));
      if (next > end) break;
      if (steps > 100_000) throw new Error("a timer that is always due");
      this.now = Math.max(this.now, next);
      for (const node of this.nodes) {
        if (node.timeout <= this.now) node.handle({ type: "timeout" });
        if (this.isServerAwake) node.answerPings();
      }
      afterEach();
    }
    this.now = end;
  }

  #reach(wire: Wire): void {
    const node = this.nodes.find(({ address }) => address === wire.to);
    if (node?.isListening === false) {
      wire.refuse();
      return;
    }
    const [local, remote] = [endpointOf(`${this.localHost}:40000`), endpointOf(wire.to as Address)];
    if (node !== undefined) wire.acceptor.stand = node.accept(wire, local, remote);
    const { stand } = wire.dialer;
    stand?.node.handle({ type: "connected", connection: stand.connection, local, remote });
  }
}

import { execFileSync } from "node:child_process";
import { StartedProcess, type StartOptions } from "./processes.js";

/** Makes names unique on one machine: test files run in parallel. */
let made = 0;

/** No card has this hardware address: what is sent to it is lost. */
const nobodysAddress = "02:00:00:00:00:00";

/** Hosts on a network of their own: network namespaces on one bridge. Only root can make them, with the tool `ip`. */
export class Hosts {
  readonly #prefix: string;
  readonly #names: readonly string[];
  readonly #started: StartedProcess[] = [];

  /** Makes a host for each name, with 10.77.0.1, 10.77.0.2 and so on. */
  constructor(...names: readonly string[]) {
    made += 1;
    this.#prefix = `fm${process.pid}x${made}`;
    this.#names = names;
    try {
      this.#make();
    } catch (error) {
      this.#deleteNamespaces();
      throw error;
    }
  }

  /** The address that a host was made with. */
  address(name: string): string {
    return `10.77.0.${this.#names.indexOf(name) + 1}`;
  }

  /** Replaces the address of a host. */
  readdress(name: string, from: string, to: string): void {
    ip("-n", this.#namespace(name), "address", "delete", `${from}/24`, "dev", "eth0");
    ip("-n", this.#namespace(name), "address", "add", `${to}/24`, "dev", "eth0");
  }

  /** Loses all that one host sends to another one. */
  cut(from: string, to: string): void {
    const neighbour = ["neighbour", "replace", this.address(to), "lladdr", nobodysAddress, "nud", "permanent"];
    ip("-n", this.#namespace(from), ...neighbour, "dev", "eth0");
  }

  /** Undoes `cut`. */
  mend(from: string, to: string): void {
    ip("-n", this.#namespace(from), "neighbour", "delete", this.address(to), "dev", "eth0");
  }

  /** Puts a firewall before one host, by which another one cannot dial it. What it dials itself, and what is open, gets through. */
  forbidDialing(from: string, to: string): void {
    const hook = "type filter hook input priority 0; policy accept;";
    const rule = `ip saddr ${this.address(from)} tcp flags & (syn|ack) == syn drop`;
    const script = `add table inet dials; add chain inet dials in { ${hook} }; add rule inet dials in ${rule}`;
    ip("netns", "exec", this.#namespace(to), "nft", script);
  }

  /** Pulls the cable of a host. */
  unplug(name: string): void {
    ip("-n", this.#namespace("hub"), "link", "set", `v${this.#names.indexOf(name)}`, "down");
  }

  /** Undoes `unplug`. */
  plug(name: string): void {
    ip("-n", this.#namespace("hub"), "link", "set", `v${this.#names.indexOf(name)}`, "up");
  }

  /** Runs a program of Node on a host. */
  run(name: string, args: readonly string[], options: StartOptions = {}): StartedProcess {
    return this.runCommand(name, process.execPath, args, options);
  }

  /** Runs any program on a host. */
  runCommand(name: string, command: string, args: readonly string[], options: StartOptions = {}): StartedProcess {
    const started = new StartedProcess("ip", ["netns", "exec", this.#namespace(name), command, ...args], options);
    this.#started.push(started);
    return started;
  }

  /** Ends all that runs on the hosts, and removes them. */
  async remove(): Promise<void> {
    try {
      await Promise.all(this.#started.map((started) => started.stop()));
    } finally {
      this.#deleteNamespaces();
    }
  }

  #make(): void {
    const hub = this.#namespace("hub");
    ip("netns", "add", hub);
    ip("-n", hub, "link", "add", "br0", "type", "bridge");
    ip("-n", hub, "link", "set", "br0", "up");
    for (const [index, name] of this.#names.entries()) {
      const host = this.#namespace(name);
      ip("netns", "add", host);
      ip("-n", hub, "link", "add", `v${index}`, "type", "veth", "peer", "name", "eth0", "netns", host);
      ip("-n", hub, "link", "set", `v${index}`, "master", "br0", "up");
      ip("-n", host, "address", "add", `${this.address(name)}/24`, "dev", "eth0");
      ip("-n", host, "link", "set", "eth0", "up");
      ip("-n", host, "link", "set", "lo", "up");
    }
  }

  #deleteNamespaces(): void {
    for (const name of [...this.#names, "hub"]) {
      try {
        ip("netns", "delete", this.#namespace(name));
      } catch {
        // It was never made.
      }
    }
  }

  #namespace(name: string): string {
    return `${this.#prefix}-${name}`;
  }
}

function ip(...args: readonly string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
}

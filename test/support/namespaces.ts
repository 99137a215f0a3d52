import { execFileSync } from "node:child_process";
import { onTestFinished, type TestContext } from "vitest";
import { StartedProcess } from "./processes.js";
import { requireTool } from "./tools.js";

/** Makes names unique on one machine: test files run in parallel. */
let made = 0;

/** Hosts on a network of the test: network namespaces on one bridge. */
export class Hosts {
  readonly #prefix: string;
  readonly #names: readonly string[];

  /**
   * Makes a host for each name, with 10.77.0.1, 10.77.0.2 and so on, and removes all of them after the test. Skips the
   * test, naming what is missing, where that is not possible.
   */
  constructor(context: TestContext, ...names: readonly string[]) {
    requireTool(context, "ip");
    if (process.getuid?.() !== 0) context.skip("skipped for lack of a privilege: only root makes network namespaces");
    made += 1;
    this.#prefix = `fm${process.pid}x${made}`;
    this.#names = names;
    onTestFinished(() => this.#remove());
    const hub = this.#namespace("hub");
    ip("netns", "add", hub);
    ip("-n", hub, "link", "add", "br0", "type", "bridge");
    ip("-n", hub, "link", "set", "br0", "up");
    for (const [index, name] of names.entries()) {
      const host = this.#namespace(name);
      ip("netns", "add", host);
      ip("-n", hub, "link", "add", `v${index}`, "type", "veth", "peer", "name", "eth0", "netns", host);
      ip("-n", hub, "link", "set", `v${index}`, "master", "br0", "up");
      ip("-n", host, "address", "add", `10.77.0.${index + 1}/24`, "dev", "eth0");
      ip("-n", host, "link", "set", "eth0", "up");
      ip("-n", host, "link", "set", "lo", "up");
    }
  }

  /** Replaces the address of a host. */
  readdress(name: string, from: string, to: string): void {
    ip("-n", this.#namespace(name), "address", "delete", `${from}/24`, "dev", "eth0");
    ip("-n", this.#namespace(name), "address", "add", `${to}/24`, "dev", "eth0");
  }

  /** Runs a program of Node on a host; it is ended after the test. */
  run(name: string, ...args: readonly string[]): StartedProcess {
    const started = new StartedProcess("ip", ["netns", "exec", this.#namespace(name), process.execPath, ...args]);
    onTestFinished(() => started.stop());
    return started;
  }

  #namespace(name: string): string {
    return `${this.#prefix}-${name}`;
  }

  #remove(): void {
    for (const name of [...this.#names, "hub"]) {
      try {
        ip("netns", "delete", this.#namespace(name));
      } catch {
        // It was never made.
      }
    }
  }
}

function ip(...args: readonly string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
}

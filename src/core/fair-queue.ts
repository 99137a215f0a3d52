/**
 * Items that wait for their turn. Each item is in a group, which may be in groups itself: the groups of one level take
 * turns, and within a group it is first come, first served. So a group with many items delays the others by one turn.
 */
export class FairQueue<Item> {
  /** The next one to have its turn is the first. */
  readonly #groups = new Map<string, FairQueue<Item>>();
  readonly #items = new Set<Item>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** `path` names the item's groups, the outermost first. */
  add(item: Item, path: readonly string[]): void {
    const [name, ...rest] = path;
    const group = name === undefined ? undefined : (this.#groups.get(name) ?? new FairQueue<Item>());
    const before = group?.size ?? this.#items.size;
    if (name === undefined || group === undefined) {
      this.#items.add(item);
      this.#size += this.#items.size - before;
    } else {
      this.#groups.set(name, group);
      group.add(item, rest);
      this.#size += group.size - before;
    }
  }

  /** Takes an item out before its turn; returns whether it was there. */
  delete(item: Item, path: readonly string[]): boolean {
    const [name, ...rest] = path;
    const group = name === undefined ? undefined : this.#groups.get(name);
    const wasThere = name === undefined ? this.#items.delete(item) : (group?.delete(item, rest) ?? false);
    if (wasThere) this.#size -= 1;
    if (name !== undefined && group?.size === 0) this.#groups.delete(name);
    return wasThere;
  }

  /** Takes out the item whose turn it is; undefined if there is none. */
  take(): Item | undefined {
    const [item] = this.#items;
    if (item !== undefined) {
      this.#items.delete(item);
      this.#size -= 1;
      return item;
    }
    const [turn] = this.#groups;
    if (turn === undefined) return undefined;
    const [name, group] = turn;
    const taken = group.take();
    this.#size -= 1;
    this.#groups.delete(name);
    // Behind all the others.
    if (group.size > 0) this.#groups.set(name, group);
    return taken;
  }

  clear(): void {
    this.#groups.clear();
    this.#items.clear();
    this.#size = 0;
  }
}

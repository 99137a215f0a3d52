/** A text that is drawn again and again in the same place of the terminal. */
export interface Drawing {
  draw(text: string): void;
  /** Takes away what is drawn. */
  clear(): void;
  /** What is drawn stays, and what follows is below it. */
  done(): void;
}

/** Draws on stdout. The package is loaded where something is drawn at all. */
export async function openDrawing(): Promise<Drawing> {
  const { createLogUpdate } = await import("log-update");
  const update = createLogUpdate(process.stdout);
  let rows = 0;
  return {
    draw: (text) => {
      const count = text.split("\n").length;
      // Where the number of lines has changed, log-update 7.2 puts the new ones over those below them.
      if (count !== rows) update.clear();
      rows = count;
      update(text);
    },
    clear: () => update.clear(),
    done: () => update.done(),
  };
}

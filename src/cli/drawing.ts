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
  let drawn = "";
  return {
    draw: (text) => {
      const { columns } = process.stdout;
      if (drawn === `${columns} ${text}`) return;
      drawn = `${columns} ${text}`;
      // log-update 7.2 draws only what differs, and in the wrong row where the number of lines changes or one becomes empty.
      update.clear();
      update(text);
    },
    clear: () => {
      drawn = "";
      update.clear();
    },
    done: () => update.done(),
  };
}

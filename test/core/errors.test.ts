import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { type ErrorCode, FullmeshError, failureTable } from "../../src/core/errors.js";

const sourceFolder = fileURLToPath(new URL("../../src/", import.meta.url));
const table = Object.entries(failureTable);

/** All source texts but the table's own. */
const sources = readdirSync(sourceFolder, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts") && !path.endsWith("core/errors.ts"))
  .map((path) => readFileSync(`${sourceFolder}/${path}`, "utf8"))
  .join("\n");

describe("the failure table", () => {
  test.each(table)("documents %s in full sentences", (code, { level, meaning, connection, remedy }) => {
    expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/);
    expect(["info", "warn", "error"]).toContain(level);
    expect(meaning).toMatch(/^[A-Z].*\.$/s);
    expect(remedy).toMatch(/^[A-Z].*\.$/s);
    expect(connection).toMatch(/\S/);
  });

  test.each(table)("has no orphan: %s is used", (code) => {
    expect(sources.includes(`"${code}"`)).toBe(true);
  });

  test("has no two codes with one meaning", () => {
    const meanings = table.map(([, { meaning }]) => meaning);
    expect(new Set(meanings).size).toBe(meanings.length);
  });
});

describe("FullmeshError", () => {
  test("says what happened, and what to try", () => {
    const cause = new Error("EADDRINUSE");
    const error = new FullmeshError("PORT_IN_USE", "127.0.0.1:4000 is taken", { cause });
    expect(error).toBeInstanceOf(Error);
    expect(error.name).toBe("FullmeshError");
    expect(error.message).toBe("127.0.0.1:4000 is taken");
    expect(error.code).toBe("PORT_IN_USE");
    expect(error.remedy).toBe(failureTable.PORT_IN_USE.remedy);
    expect(error.cause).toBe(cause);
  });

  test("has a remedy for every code", () => {
    for (const [code, { remedy }] of table) {
      const error = new FullmeshError(code as ErrorCode, "x");
      expect(error.remedy).toBe(remedy);
    }
  });
});

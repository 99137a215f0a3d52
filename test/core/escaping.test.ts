import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FullmeshError } from "../../src/core/errors.js";
import { diagramText, harmless, jsonLine, printable, shownLine } from "../../src/core/escaping.js";
import { LogRateLimiter } from "../../src/runtime/log-rate-limiter.js";
import { toSequenceDiagram } from "../../src/runtime/trace.js";

/** One byte for each character. */
function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** What steers a terminal, or the eye of who reads it. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is these that must not get through.
const steering = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\p{Surrogate}/u;

/** Any text, and often one with what must not get through. */
const hostileText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)) }),
  fc.string({
    unit: fc.constantFrom(
      ...[
        "\x1b[2J",
        "\x00",
        "\r\n",
        "\x7f",
        "\x9b",
        "\u061c",
        "\u200f",
        "\u2028",
        "\u202e",
        "\u2067",
        "\ud800",
        "\udfff",
      ],
      ...[
        "%%{init: {}}%%",
        ";",
        "#",
        "<br/>",
        "$$",
        "end",
        "wrap:",
        "&lt;",
        "participant x",
        '"',
        "\\",
        "a",
        "\u00fc",
        "\u{1f310}",
      ],
    ),
  }),
);

describe("printable", () => {
  test("leaves plain ASCII as it is", () => {
    expect(printable(bytesOf("127.0.0.1:80 ~!"))).toBe("127.0.0.1:80 ~!");
  });

  test("shows every other byte by its number, and the backslash too, so that it cannot be forged", () => {
    expect(printable(bytesOf("a\n\x1b[31m\x7f\xff\\"))).toBe("a\\x0a\\x1b[31m\\x7f\\xff\\x5c");
  });

  test("says that it left something out", () => {
    expect(printable("x".repeat(64))).toBe("x".repeat(64));
    expect(printable("x".repeat(65))).toBe(`${"x".repeat(64)}...`);
    expect(printable("abcdef", 3)).toBe("abc...");
  });

  test("gives printable ASCII of bounded length for any bytes and any string", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.string({ unit: "binary" })), (foreign) => {
        const text = printable(foreign);
        expect(text).toMatch(/^[\x20-\x7e]*$/);
        expect(text.length).toBeLessThanOrEqual(64 + "\\x00".length + "...".length);
      }),
    );
  });
});

test("harmless leaves words of any language, and replaces what could steer a terminal and halves of pairs", () => {
  expect(harmless("größer 測試 \u{1f310} \\x1b")).toBe("größer 測試 \u{1f310} \\x1b");
  expect(harmless("a\x1b[2J\r\n\x07b\u009b\ud83c.\udf10")).toBe("a\ufffd[2J\ufffd\ufffd\ufffdb\ufffd\ufffd.\ufffd");
});

describe("any text", () => {
  test("steers nothing as a sentence, keeps its length, and is left as it is if it is safe", () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        const sentence = harmless(text);
        expect(sentence).not.toMatch(steering);
        expect([...sentence].length).toBe([...text].length);
        if (!steering.test(text)) expect(sentence).toBe(text);
      }),
    );
  });

  test("steers nothing as a line for people", () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        expect(shownLine(text)).not.toMatch(steering);
      }),
    );
    expect(shownLine("a\x1b[2J\x9b\u202eb\ud800 \u00fc")).toBe("a\\x1b[2J\\x9b\\u202eb\\ud800 \u00fc");
  });

  test("steers nothing in a line of JSON, as a value or as a name, and means what it meant", () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        const line = jsonLine({ [`-${text}`]: [text] });
        expect(line).not.toMatch(steering);
        expect(JSON.parse(line)).toEqual({ [`-${text}`]: [text] });
      }),
    );
    expect(jsonLine("\x9b\u202e\x7f\u2028\ud800")).toBe('"\\u009b\\u202e\\u007f\\u2028\\ud800"');
  });

  test("is one label of a diagram, in which Mermaid finds nothing of its own", () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        const lines = toSequenceDiagram([{ at: 1, from: "server", to: text, text }]).split("\n");
        const [head, server, participant, arrow, ...rest] = lines;
        const names = text === "server" ? [] : [participant];
        expect([head, server, rest]).toEqual(["sequenceDiagram", "    participant server as server", [""]]);
        for (const line of [...names, arrow]) {
          expect(line).not.toMatch(steering);
          // What is left of what Mermaid reads are the entities that stand for such characters.
          expect(line?.replace("->>", "").replaceAll(/#\d+;/g, "")).not.toMatch(/[#;<>%&$]/);
          // Only where a label begins; behind that it is text.
          const label = /^ *(?:participant \S+ as|[^:]*:)(.*)$/s.exec(line ?? "")?.[1];
          expect(label).not.toMatch(/^ *:? *(?:no)?wrap:/i);
        }
      }),
    );
  });

  test("steers nothing in the message of an error, nor in the stack that Node prints of it", () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        const error = new FullmeshError("BAD_OPTION", text);
        expect(error.message).not.toMatch(steering);
        expect(error.stack?.split("\n")[0]).not.toMatch(steering);
      }),
    );
  });

  test("steers nothing in what a logger is given", () => {
    fc.assert(
      fc.property(hostileText, (message) => {
        for (const record of new LogRateLimiter().pass({ code: "BAD_VALUE", message }, 0)) {
          expect(record.message).not.toMatch(steering);
        }
      }),
    );
  });
});

test("a directive in a label is text", () => {
  expect(diagramText('register {"mesh":"%%{init:{}}%%"}')).toBe('register {"mesh":"#37;#37;{init:{}}#37;#37;"}');
  expect(diagramText("wrap: x")).toBe("wrap#58; x");
});

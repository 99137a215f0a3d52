// Biome does formatting and everything else; it misses floating promises of imported functions, so this one rule family
// comes from typescript-eslint.
import tseslint from "typescript-eslint";

export default [
  { ignores: ["dist/", "node_modules/", "**/*.mjs", "**/*.js"] },
  {
    files: ["src/**/*.ts", "simulator/**/*.ts", "bench/**/*.ts", "proof/**/*.ts", "test/**/*.ts"],
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: {
        project: [
          "src/*/tsconfig.json",
          "src/tsconfig.json",
          "simulator/tsconfig.json",
          "bench/tsconfig.json",
          "proof/tsconfig.json",
          "test/tsconfig.json",
        ],
      },
    },
    plugins: { "@typescript-eslint": tseslint.plugin },
    rules: {
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": "error",
      "@typescript-eslint/await-thenable": "error",
    },
  },
  {
    // Arguments lie on the stack: with more than some 65,000 of them a call is a RangeError, and whoever chooses how many
    // there are chooses the error. Where the number is ours, disable the rule in that line and say why.
    files: ["src/**/*.ts", "simulator/**/*.ts"],
    rules: {
      "no-restricted-syntax": [
        "error",
        {
          selector: ":matches(CallExpression, NewExpression) > SpreadElement",
          message: "A spread into arguments fails where others choose the length: use a loop, reduce or a copy.",
        },
        {
          selector: "CallExpression[callee.property.name='apply'] > :nth-child(2):not(ArrayExpression)",
          message: "apply() puts each item on the stack, as a spread does: use a loop, reduce or a copy.",
        },
      ],
    },
  },
];

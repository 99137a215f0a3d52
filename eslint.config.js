// Biome does formatting and everything else; it misses floating promises of imported functions, so this one rule family
// comes from typescript-eslint.
import tseslint from "typescript-eslint";

export default [
  { ignores: ["dist/", "node_modules/", "**/*.mjs", "**/*.js"] },
  {
    files: ["src/**/*.ts", "test/**/*.ts"],
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: { project: ["src/*/tsconfig.json", "src/tsconfig.json", "test/tsconfig.json"] },
    },
    plugins: { "@typescript-eslint": tseslint.plugin },
    rules: {
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": "error",
      "@typescript-eslint/await-thenable": "error",
    },
  },
];

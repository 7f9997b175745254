// Node takes a bare .js for CommonJS unless a package.json says otherwise; a data URL is a module.
import { readFileSync } from "node:fs";

const here = new URL("../../qkvlib/widgets/", import.meta.url);

export function load(name) {
  // As Python puts them together: what all widgets share, what this one needs, then the widget.
  const read = (stem) => readFileSync(new URL(`${stem}.js`, here), "utf8");
  const needs = [...read(name).matchAll(/^\/\/ needs: (\w+)$/gm)].map(([, stem]) => stem);
  const source = ["_shared", ...needs, name].map(read).join("\n");
  return import(`data:text/javascript;base64,${Buffer.from(source).toString("base64")}`);
}

// Node takes a bare .js for CommonJS unless a package.json says otherwise; a data URL is a module.
import { readFileSync } from "node:fs";

const here = new URL("../../qkvlib/widgets/", import.meta.url);

export function load(name) {
  // As Python puts them together: what all widgets share, then the widget.
  const source = ["_shared", name]
    .map((stem) => readFileSync(new URL(`${stem}.js`, here), "utf8"))
    .join("\n");
  return import(`data:text/javascript;base64,${Buffer.from(source).toString("base64")}`);
}

// Node takes a bare .js for CommonJS unless a package.json says otherwise; a data URL is a module.
import { readFileSync } from "node:fs";

const here = new URL("../../qkvlib/widgets/", import.meta.url);

export function load(name) {
  const source = readFileSync(new URL(`${name}.js`, here), "utf8");
  return import(`data:text/javascript;base64,${Buffer.from(source).toString("base64")}`);
}

// verifier/typescript, as a browser would have it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import ts from 'typescript';

export const source = fileURLToPath(new URL('../../../verifier/typescript/mps-verify.ts', import.meta.url));

async function compiled() {
  const place = mkdtempSync(join(tmpdir(), 'mps-verify-'));
  const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 };
  const file = join(place, 'verifier.mjs');
  writeFileSync(file, ts.transpileModule(readFileSync(source, 'utf8'), { compilerOptions: options }).outputText);
  try {
    return await import(pathToFileURL(file));
  } finally {
    rmSync(place, { recursive: true });
  }
}

export const verifier = await compiled();

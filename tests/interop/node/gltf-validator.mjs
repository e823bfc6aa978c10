// SPDX-License-Identifier: Apache-2.0
// What Khronos' glTF Validator says of files: reads paths, a line each, from standard input, and
// writes {"path", "errors", "warnings", "first", "kinds"} for each; kinds has a number for every
// code. A file that is named by another lies in the folder of the one that names it.
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import validator from 'gltf-validator';

async function judge(file) {
    const { issues } = await validator.validateBytes(new Uint8Array(fs.readFileSync(file)), {
        maxIssues: 1000000,
        externalResourceFunction: async (uri) =>
            new Uint8Array(fs.readFileSync(path.join(path.dirname(file), decodeURIComponent(uri)))),
    });
    const kinds = {};
    for (const { severity, code } of issues.messages)
        if (severity < 2)
            kinds[code] = (kinds[code] || 0) + 1;
    const first = issues.messages.find(({ severity }) => severity === 0);
    return { errors: issues.numErrors, warnings: issues.numWarnings, kinds, first };
}

for await (const file of readline.createInterface({ input: process.stdin }))
    console.log(JSON.stringify({ path: file, ...await judge(file) }));

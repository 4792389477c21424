// SPDX-License-Identifier: Apache-2.0
// Writes tests/unit/key_vectors.h: keys in the order of compareRank, each as smallcaps and as encodePassable writes it.
//   npm install @endo/init @endo/marshal @endo/pass-style   (anywhere)
//   ENDO_RANK_STRINGS=unicode-code-point-order node keys.mjs > …/tests/unit/key_vectors.h   (run where they are installed)
import '@endo/init';
import { makeMarshal, makePassableKit, compareRank } from '@endo/marshal';
import { Far } from '@endo/pass-style';

if (process.env.ENDO_RANK_STRINGS !== 'unicode-code-point-order') throw Error('set ENDO_RANK_STRINGS');
const quoteC = s => '"' + [...Buffer.from(s, 'utf8')].map(b =>
	b === 34 ? '\\"' : b === 92 ? '\\\\' : b >= 32 && b < 127 && b !== 63 ? String.fromCharCode(b)
		: '\\' + b.toString(8).padStart(3, '0')).join('') + '"';

// The i-th is the vat's import o-i. Endo leaves the order among remotables open; here it is that of their numbers.
const remotables = [0, 1, 2].map(i => Far(`far${i}`, {}));
const numberOf = new Map(remotables.map((r, i) => [r, i + 1]));
const bits = r => ((1n << 62n) + BigInt(numberOf.get(r))).toString(16).padStart(16, '0');
const { encodePassable, decodePassable } = makePassableKit({
	format: 'compactOrdered',
	encodeRemotable: r => `r${bits(r)}`,
	decodeRemotable: text => remotables[Number(BigInt(`0x${text.slice(1)}`) & 0xffn) - 1],
});
const marshal = makeMarshal(r => numberOf.get(r), () => null, { serializeBodyFormat: 'smallcaps' });

let seed = 4711n;
const random = n => Number((seed = (seed * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn) >> 33n) % n;
const pick = list => list[random(list.length)];

const numbers = [0, 1, -1, 1.5, -1.5, 5e-324, -5e-324, 2 ** 53, -(2 ** 53), 1e21, -1e21, 1.7976931348623157e308,
	-1.7976931348623157e308, Infinity, -Infinity, NaN, 0.1, 3, 10, 9, 100, 1e-7];
const view = new DataView(new ArrayBuffer(8));
for (let i = 0; i < 100; i++) {
	view.setUint32(0, random(2 ** 31) * 2 + random(2));
	view.setUint32(4, random(2 ** 31) * 2 + random(2));
	numbers.push(view.getFloat64(0));
}
const bigints = [];
for (const n of [0n, 1n, 4n, 5n, 9n, 10n, 11n, 42n, 99n, 100n, 101n, 10n ** 8n, 10n ** 9n - 1n, 10n ** 9n, 10n ** 9n + 1n,
	10n ** 10n, 2n ** 63n, 2n ** 64n, 10n ** 98n, 10n ** 99n - 1n, 10n ** 99n, 10n ** 100n, 10n ** 120n + 7n])
	bigints.push(n, -n);
const strings = ['', 'a', 'b', 'ab', 'a b', 'a!', 'a^', 'a_', 'a__', '_', '^', '!', ' ', '  ', '!_', '`', ']', '~', '\u0000',
	'\u0000\u0000', '\u0001', '\u001f', '\u007f', '\u0080', '\u00e9', '\ud7ff', '\ue000', '\uffee', '\u{10000}', '\u{1f600}',
	'#x', '$0', '&1', '%s', '+5', '-5', '!x', '*', ',', '"', '\\', '\n', 'z'.repeat(60)];
const symbols = [Symbol.for('x'), Symbol.for(''), Symbol.for('x y'), Symbol.iterator, Symbol.asyncIterator, Symbol.for('@@x')];
const scalars = [undefined, null, true, false, ...numbers, ...bigints, ...strings, ...symbols, ...remotables];
const arrays = [[], [[]], [[], []], [[[]]], ['a'], ['a', 'b'], ['ab'], ['a b'], ['a', ''], [['a'], 1], [['a', 0]], ['', ''], [''],
	[1], [1, 2], [-1], [NaN], [undefined], [null], [undefined, undefined], [remotables[1]], [remotables[0], 'x'], [10n], [9n],
	[-10n], ['^'], ['_'], ['^', '^'], [' '], ['!']];
const randomKey = depth => random(3) || depth > 3 ? pick(scalars) : Array.from({ length: random(4) }, () => randomKey(depth + 1));
for (let i = 0; i < 200; i++) arrays.push(randomKey(0));

const codePoints = (a, b) => Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'));
// compareRank ties remotables, and whatever follows a tie; a tie is broken by what we promise beyond it.
const rows = [];
const seen = new Set();
for (const key of [...scalars, ...arrays]) {
	harden(key);
	const text = encodePassable(key).slice(1);
	if (seen.has(text)) continue;
	seen.add(text);
	if (encodePassable(decodePassable(`~${text}`)) !== `~${text}`) throw Error(`no round trip: ${text}`);
	const { body, slots } = marshal.toCapData(key);
	rows.push({ key, text, body, slots });
}
rows.sort((a, b) => compareRank(a.key, b.key) || codePoints(a.text, b.text));
for (let i = 1; i < rows.length; i++)
	if (codePoints(rows[i - 1].text, rows[i].text) >= 0) throw Error(`order: ${rows[i - 1].text} ${rows[i].text}`);

console.log('/* SPDX-License-Identifier: Apache-2.0 */');
console.log('/* Made by tests/vectors/keys.mjs with @endo/marshal; not to be edited. In order; slots name o-1, o-2, o-3. */');
console.log('struct key_vector { const char *body, *slots, *text; };');
console.log('static const struct key_vector key_vectors[] = {');
for (const { text, body, slots } of rows)
	console.log(`\t{ ${quoteC(body)}, "${slots.map(n => `o-${n}`).join(' ')}",\n\t  ${quoteC(text)} },`);
console.log('};');

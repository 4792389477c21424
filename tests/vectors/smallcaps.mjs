// SPDX-License-Identifier: Apache-2.0
// Writes tests/unit/smallcaps_vectors.h: what @endo/marshal and JSON.stringify make of chosen values.
//   npm install @endo/init @endo/marshal @endo/pass-style   (anywhere)
//   node smallcaps.mjs > …/tests/unit/smallcaps_vectors.h   (run where they are installed)
import '@endo/init';
import { makeMarshal } from '@endo/marshal';
import { Far, makeTagged } from '@endo/pass-style';

const marshal = makeMarshal(() => 'slot', () => null, { serializeBodyFormat: 'smallcaps', errorTagging: 'off' });
const quoteC = s => '"' + [...Buffer.from(s, 'utf8')].map(b =>
	b === 34 ? '\\"' : b === 92 ? '\\\\' : b >= 32 && b < 127 ? String.fromCharCode(b)
		: '\\' + b.toString(8).padStart(3, '0')).join('') + '"';
const print = (name, type, rows) => {
	console.log(`\n__attribute__((unused)) static const struct ${type} ${name}[] = {`);
	for (const row of rows) console.log(`\t{ ${row} },`);
	console.log('};');
};

const plain = [
	null, true, false, 0, -0, 1, -1, 1.5, 1e21, 1e-7, 0.1, 5e-324, 1.7976931348623157e308, 2 ** 53, -(2 ** 53), 0.000001,
	'', 'a', '!', '#x', '$0', '&1', '%s', '+5', '-5', "'q", '(p', '*s', ',c', '.d', '/e', '"q"', '\\', '\u0000',
	'\b\t\n\f\r', '\u001f', '\u007f', '\u2028', '\u00e9', '\u{1f600}',
	[], [[]], {}, { a: 1 }, { b: 1, a: 2 }, { 10: 1, 9: 2, a: 3, '-1': 4, '01': 5 }, { '!x': 1, '#y': 2, $z: 3, '': 4 },
	{ '\u00e9': 1, z: 2, '\u{1f600}': 3, '\uffee': 4 }, [1, '2', { x: [null] }],
];
const one = Far('Counter', {}), two = Far('Alleged2', {}), promise = harden(Promise.resolve(1));
const quoted = Far('a "quoted" \u00fc.thing', {}), bare = harden(Promise.resolve(2));
const makeError = (Class, message, options = undefined) => harden(new Class(message, options));
const wellKnown = Reflect.ownKeys(Symbol).map(name => Symbol[name]).filter(s => typeof s === 'symbol' && Symbol.keyFor(s) === undefined);
const special = [
	undefined, NaN, Infinity, -Infinity, 5n, -7n, 0n, 2n ** 70n, Symbol.for('x'), Symbol.iterator,
	makeTagged('copySet', [1, 2]), harden(new TypeError('bad $')), harden(new Error('!m')), one,
	[one, two, one, promise, promise], { x: undefined, n: [NaN] },
	// bigints
	-0n, 1n, -1n, 2n ** 53n, -(2n ** 63n), 2n ** 63n, 2n ** 64n, -(2n ** 200n), 10n ** 100n, [7n, -7n],
	// symbols: registered ones, of any name, and all that are well known
	...['', 'a b', '@', '@@', '@@iterator', '@@@@foo', '@@none', '"q"', '\u00e9\n', '!', '%', '$0'].map(name => Symbol.for(name)),
	...wellKnown, [Symbol.for('x'), { s: Symbol.asyncIterator }],
	// errors
	makeError(Error, ''), makeError(RangeError, 'r'), makeError(ReferenceError, 'r'), makeError(SyntaxError, 's'),
	makeError(EvalError, 'e'), makeError(URIError, '%u'), makeError(TypeError, '$0 is no function'),
	makeError(Error, '"two"\nlines\u2028'), makeError(Error, 'with cause', { cause: makeError(Error, 'cause') }),
	[makeError(Error, '#error'), makeError(Error, '-1')],
	// tagged
	makeTagged('', undefined), makeTagged('!#tag', null), makeTagged('a b', 'x'), makeTagged('copyMap', { keys: ['a'], values: [one] }),
	makeTagged('copyBag', [['x', 2n], ['y', 1n]]), makeTagged('outer', makeTagged('inner', [two, one, two])),
	makeTagged('match:any', undefined), { t: makeTagged('x', promise) },
	// references: the interface at the first mention only, in the order of the text
	quoted, promise, { b: one, a: two, c: [one, two] }, [quoted, quoted, bare, promise, bare], [[[one]], { one }, makeTagged('t', one)],
	// names and strings that begin like something else
	{ '#tag': 1 }, { '#error': 'x', name: 'y' }, { $0: one, '&0': promise, '%s': Symbol.for('s'), '+1': 1n, '-1': -1n },
	{ '!': 1, '!!': 2, '"': 3, "'": 4, '(': 5, ')': 6, '*': 7, ',': 8, '#': 9, '.': 10 },
	['!', '!!', '!a', '"', '#', '#undefined', '#NaN', '$', '$0', '$0.Alleged: x', '&', '%', "'", '(', ')', '*', '+', ',', '-', '.', ' ', '~'],
	{ 4294967294: 1, 4294967295: 2, 4294967296: 3, 0: 4, '00': 5, 1.5: 6 },
	{ undefined: undefined, null: null, true: true, list: [[], {}, [[]], [{}]] },
];
const numbers = [];
let seed = 12345n;
const random = () => (seed = (seed * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn);
const view = new DataView(new ArrayBuffer(8));
const addBits = bits => { view.setBigUint64(0, bits); numbers.push(view.getFloat64(0)); };
for (let i = 0; i < 300; i++) addBits(random());
for (let e = 0n; e < 2047n; e += 13n) addBits(e << 52n);	// powers of two: uneven neighbours
for (let i = 0; i < 52; i += 5) addBits(1n << BigInt(i));	// subnormal
for (let e = -30; e < 30; e++) numbers.push(Number(`12345e${e}`), Number(`-7e${e}`));

console.log('/* SPDX-License-Identifier: Apache-2.0 */');
console.log('/* Made by tests/vectors/smallcaps.mjs with @endo/marshal; not to be edited. */');
console.log('struct plain_vector { const char *json, *body; };');
console.log('struct body_vector { const char *body; unsigned n_slots; };');
console.log('struct number_vector { uint64_t bits; const char *text; };');
print('plain_vectors', 'plain_vector', plain.map(value =>
	`${quoteC(Object.is(value, -0) ? '-0.0' : JSON.stringify(value))},\n\t  ${quoteC(marshal.toCapData(harden(value)).body)}`));
print('body_vectors', 'body_vector', [...plain, ...special].map(value => {
	const { body, slots } = marshal.toCapData(harden(value));
	return `${quoteC(body)}, ${slots.length}`;
}));
print('number_vectors', 'number_vector', numbers.filter(Number.isFinite).map(n => {
	view.setFloat64(0, n);
	return `UINT64_C(0x${view.getBigUint64(0).toString(16)}), "${JSON.stringify(n)}"`;
}));

/**
 * Verifies receipts of MPS: that a movement, or what a card held at the end of a month, stands under a head that the shop's key signed, and
 * that what the shop shows later goes on from there. No database, no network, no dependencies: only the WebCrypto of a browser or of Node.
 * docs/receipts.md says what each field is and what a verdict means; verifier/rust does the same in another language.
 */

/** Why something cannot be believed: it is not what it says it is. */
export class Invalid extends Error {}

export interface Balances {
  /** `2026-11` */
  month: string
  cards: number
  totalCents: bigint
  root: string
}

export interface Head {
  headNo: number
  sealNo: number
  movements: number
  /** Microseconds since 1970. */
  signedAt: number
  balances: Balances | null
  /** The last restore of the database up to here: the number of the head that told of it, and when that was signed. */
  lastRestore: { headNo: number; at: number } | null
  /** Why the database was restored to the head before this one. */
  restored: string | null
  root: string
  text: string
}

export interface Movement {
  txNo: string
  cardNo: string
  cardSeq: number
  changeCents: bigint
  balanceAfterCents: bigint
  /** Microseconds since 1970. */
  postedAt: number
}

export interface Receipt {
  movement: Movement
  /** Its place in the log. */
  index: number
  head: Head
}

export interface Holding {
  cardNo: string
  /** How many movements it had by then. */
  cardSeq: number
  balanceCents: bigint
  published: Balances
  head: Head
}

/**
 * stands: what was kept is the beginning of what there is now. lost: the shop has said, and signed, that it restored the database to a point
 * before it; the receipt is still a proof of what was taken. not shown: ask again; a shop that cannot show it has changed or lost what was
 * under the head. convicted: the shop's own key has signed two things that cannot both be true.
 */
export type Verdict =
  | { verdict: 'stands' }
  | { verdict: 'lost'; at: number; why: string | null }
  | { verdict: 'not shown' }
  | { verdict: 'convicted'; why: string }

type Json = null | boolean | number | string | Json[] | { [name: string]: Json }

/** A public key, as `keys()` reads it. */
export type Key = CryptoKey

const MOST_LEVELS = 64

function check(holds: boolean, why: string): asserts holds {
  if (!holds) throw new Invalid(why)
}

function fieldsOf(text: string, kind: string, count: number): Json[] {
  let all: Json
  try {
    all = JSON.parse(text)
  } catch {
    throw new Invalid('a text is no JSON')
  }
  check(Array.isArray(all) && all.length === count && all[0] === kind, 'a text is not of the kind that it should be')
  return all
}

function text(value: Json | undefined): string {
  check(typeof value === 'string', 'a field is no text')
  return value
}

function count(value: Json | undefined): number {
  check(typeof value === 'number' && Number.isSafeInteger(value) && value >= 0, 'a field is no whole number')
  return value
}

function listOf(value: Json | undefined): Json[] {
  check(Array.isArray(value), 'a field is no list')
  return value
}

function hashOf(value: Json | undefined): string {
  const shown = text(value)
  check(/^[0-9a-f]{64}$/.test(shown), 'a field is no hash')
  return shown
}

function centsOf(value: Json | undefined): bigint {
  const parts = /^(-?)([0-9]{1,15})\.([0-9]{2})$/.exec(text(value))
  check(parts !== null, 'an amount is none')
  const cents = BigInt(parts[2]! + parts[3]!)
  return parts[1] ? -cents : cents
}

function fromBase64(value: Json | undefined): Uint8Array<ArrayBuffer> {
  const shown = text(value)
  check(/^[A-Za-z0-9+/]*={0,2}$/.test(shown) && shown.length % 4 === 0, 'a field is not base64')
  const bytes = Uint8Array.from(atob(shown), (c) => c.charCodeAt(0))
  // One value has one text: what is left over at the end is zero.
  check(btoa(String.fromCharCode(...bytes)) === shown, 'a field is not base64')
  return bytes
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('')
}

const utf8 = new TextEncoder()

async function sha256(...parts: Uint8Array[]): Promise<Uint8Array<ArrayBuffer>> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return new Uint8Array(await crypto.subtle.digest('SHA-256', all))
}

const leafHash = (leaf: string) => sha256(Uint8Array.of(0), utf8.encode(leaf))
const join = (left: Uint8Array, right: Uint8Array) => sha256(Uint8Array.of(1), left, right)

function amountBytes(cents: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, cents)
  return bytes
}

function concat(left: Uint8Array, right: Uint8Array): Uint8Array {
  const both = new Uint8Array(left.length + right.length)
  both.set(left)
  both.set(right, left.length)
  return both
}

/** Joins two labels of eight bytes of cents and a hash. Sums never go round: whoever could make them do so could hide money. */
async function joinSums(left: Uint8Array, right: Uint8Array): Promise<Uint8Array> {
  const cents = (label: Uint8Array) => new DataView(label.buffer, label.byteOffset).getBigUint64(0)
  const total = cents(left) + cents(right)
  check(total < 1n << 63n, 'the sums go round')
  return concat(amountBytes(total), await sha256(Uint8Array.of(1), left, right))
}

/** Reads public keys in PEM, one or several. */
export async function keys(pem: string): Promise<Key[]> {
  const found = [...pem.matchAll(/-----BEGIN PUBLIC KEY-----([\s\S]+?)-----END PUBLIC KEY-----/g)]
  check(found.length > 0, 'there is no public key in PEM')
  return Promise.all(
    found.map((part) =>
      crypto.subtle
        .importKey('spki', fromBase64(part[1]!.replace(/\s/g, '')), { name: 'Ed25519' }, false, ['verify'])
        .catch(() => {
          throw new Invalid('a key is no Ed25519 public key')
        })
    )
  )
}

function objectOf(given: Json): { [name: string]: Json } {
  check(typeof given === 'object' && given !== null && !Array.isArray(given), 'it is no object')
  return given
}

/** Reads a head, if one of the keys signed it. */
async function headOf(given: Json, keys: Key[]): Promise<Head> {
  const signed = objectOf(given)
  const said = text(signed['head'])
  const signature = fromBase64(signed['signature'])
  const tried = await Promise.all(keys.map((key) => crypto.subtle.verify('Ed25519', key, signature, utf8.encode(said))))
  check(tried.includes(true), 'the head is not signed by any of the keys')
  const all = fieldsOf(said, 'mps head 1', 14)
  const month = all[11] === null ? null : listOf(all[11])
  const last = all[12] === null ? null : listOf(all[12])
  return {
    headNo: count(all[1]),
    sealNo: count(all[2]),
    movements: count(all[4]),
    root: hashOf(all[5]),
    signedAt: count(all[9]),
    balances: month && { month: text(month[0]), cards: count(month[1]), totalCents: centsOf(month[2]), root: hashOf(month[3]) },
    lastRestore: last && { headNo: count(last[0]), at: count(last[1]) },
    restored: all[13] === null ? null : text(listOf(all[13])[2]),
    text: said,
  }
}

function labels(value: Json | undefined, bytes: number): Uint8Array[] {
  const all = fromBase64(value)
  check(all.length % bytes === 0 && all.length <= bytes * MOST_LEVELS, 'a path has no whole labels')
  return Array.from({ length: all.length / bytes }, (_, n) => all.slice(n * bytes, (n + 1) * bytes))
}

/** Goes up a path from a leaf (RFC 9162, 2.1.3.2). */
async function climb(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: Uint8Array[],
  join: (left: Uint8Array, right: Uint8Array) => Promise<Uint8Array>
): Promise<string | null> {
  if (index >= size) return null
  let at = index
  let last = size - 1
  let here = leaf
  for (const beside of path) {
    if (last === 0) return null
    if (at % 2 === 1 || at === last) {
      here = await join(beside, here)
      while (at % 2 === 0 && at !== 0) {
        at = Math.floor(at / 2)
        last = Math.floor(last / 2)
      }
    } else {
      here = await join(here, beside)
    }
    at = Math.floor(at / 2)
    last = Math.floor(last / 2)
  }
  return last === 0 ? hex(here) : null
}

/** Reads what `app.tx_proof()` gave, if a head of one of the keys stands over it. */
export async function receipt(given: Json, keys: Key[]): Promise<Receipt> {
  const fields = objectOf(given)
  check(fields['kind'] === 'mps receipt 1', 'it is no receipt of a movement')
  const head = await headOf(given, keys)
  const leaf = text(fields['leaf'])
  const all = fieldsOf(leaf, 'mps movement 1', 8)
  const index = count(fields['index'])
  const top = await climb(await leafHash(leaf), index, head.movements, labels(fields['path'], 32), join)
  check(top === head.root, 'the head does not stand over this movement')
  const movement = {
    txNo: text(all[1]),
    cardNo: text(all[2]),
    cardSeq: count(all[3]),
    changeCents: centsOf(all[4]),
    balanceAfterCents: centsOf(all[5]),
    postedAt: count(all[6]),
  }
  return { movement, index, head }
}

/** Reads what `app.liability_proof()` gave, if a head of one of the keys published it. */
export async function holding(given: Json, keys: Key[]): Promise<Holding> {
  const fields = objectOf(given)
  check(fields['kind'] === 'mps liability 1', 'it is no proof of a balance')
  const head = await headOf(given, keys)
  const published = head.balances
  check(published !== null, 'the head publishes no balances')
  const leaf = text(fields['leaf'])
  const all = fieldsOf(leaf, 'mps balance 1', 6)
  check(text(all[1]) === published.month, 'the head publishes another month')
  const balanceCents = centsOf(all[4])
  check(balanceCents >= 0n, 'a balance is below zero')
  const label = concat(amountBytes(balanceCents), await leafHash(leaf))
  const top = await climb(label, count(fields['index']), published.cards, labels(fields['path'], 40), joinSums)
  check(top === hex(amountBytes(published.totalCents)) + published.root, 'the balance is not in the published total')
  return { cardNo: text(all[2]), cardSeq: count(all[3]), balanceCents, published, head }
}

/** Whether the tree of an older head is the beginning of that of a newer one (RFC 9162, 2.1.4.2). */
async function goesOn(old: Head, newest: Head, path: Uint8Array[]): Promise<boolean> {
  if (old.movements === 0) return path.length === 0
  if (old.movements > newest.movements) return false
  if (old.movements === newest.movements) return path.length === 0 && old.root === newest.root
  const rest = [...path]
  const isPower = Number.isInteger(Math.log2(old.movements)) && 2 ** Math.log2(old.movements) === old.movements
  const first = isPower ? Uint8Array.from(old.root.match(/../g)!, (h) => parseInt(h, 16)) : rest.shift()
  if (first === undefined) return false
  let at = old.movements - 1
  let last = newest.movements - 1
  const up = () => {
    at = Math.floor(at / 2)
    last = Math.floor(last / 2)
  }
  while (at % 2 === 1) up()
  let older: Uint8Array = first
  let newer: Uint8Array = first
  for (const beside of rest) {
    if (last === 0) return false
    if (at % 2 === 1 || at === last) {
      older = await join(beside, older)
      newer = await join(beside, newer)
      while (at % 2 === 0 && at !== 0) up()
    } else {
      newer = await join(newer, beside)
    }
    up()
  }
  return last === 0 && hex(older) === old.root && hex(newer) === newest.root
}

/** Whether a head tells of a restore that took place after `kept` was signed, and went back to before it. */
function tellsOfItsLoss(head: Head, kept: Head): boolean {
  return head.lastRestore !== null && head.lastRestore.headNo <= kept.headNo && head.lastRestore.at >= kept.signedAt
}

/**
 * Judges what `app.head_proof(head_no)` gave by a head that was kept. Only what is signed can convict: what somebody left out or spoilt on
 * the way never does. Throws Invalid where what was given is no evidence of anything.
 */
export async function judge(kept: Head, given: Json, keys: Key[]): Promise<Verdict> {
  const fields = objectOf(given)
  check(fields['kind'] === 'mps heads 1', 'these are no heads')
  const latest = await headOf(fields['latest'] ?? null, keys)
  const at = fields['at'] === null || fields['at'] === undefined ? null : await headOf(fields['at'], keys)
  check(at === null || at.headNo === kept.headNo, 'it is about another head')
  const twice: Verdict = { verdict: 'convicted', why: 'two heads have one number' }
  if (at !== null && at.text === kept.text) {
    if (latest.headNo === kept.headNo && latest.text !== kept.text) return twice
    check(latest.signedAt >= kept.signedAt, 'what is shown as the newest is older than the head that was kept')
    if (latest.movements < kept.movements || latest.headNo < kept.headNo) {
      return { verdict: 'convicted', why: 'a later head stands for less' }
    }
    let path: Uint8Array[] = []
    try {
      path = labels(fields['path'], 32)
    } catch {
      // No path is a path that does not lead there.
    }
    return (await goesOn(kept, latest, path)) ? { verdict: 'stands' } : { verdict: 'not shown' }
  }
  const lost = [at, latest].find((head) => head !== null && tellsOfItsLoss(head, kept))
  if (lost) {
    let why: string | null = null
    for (const shown of Array.isArray(fields['restores']) ? fields['restores'] : []) {
      const told = await headOf(shown, keys).catch(() => null)
      if (told !== null && told.headNo === lost.lastRestore!.headNo) why = told.restored
    }
    return { verdict: 'lost', at: lost.lastRestore!.at, why }
  }
  if (at !== null || (latest.headNo === kept.headNo && latest.text !== kept.text)) return twice
  if (latest.headNo >= kept.headNo) return { verdict: 'not shown' }
  check(latest.signedAt >= kept.signedAt, 'what is shown is older than the head that was kept')
  return { verdict: 'convicted', why: 'a later head has a lower number' }
}

/** Whether two receipts cannot both be true, and no restore lies between their heads. */
export function exclude(one: Receipt, other: Receipt): boolean {
  const [earlier, later] = one.head.signedAt <= other.head.signedAt ? [one, other] : [other, one]
  const [a, b] = [earlier.movement, later.movement]
  const isOne = earlier.index === later.index || a.txNo === b.txNo || (a.cardNo === b.cardNo && a.cardSeq === b.cardSeq)
  const differ =
    earlier.index !== later.index ||
    a.txNo !== b.txNo ||
    a.cardNo !== b.cardNo ||
    a.cardSeq !== b.cardSeq ||
    a.changeCents !== b.changeCents ||
    a.balanceAfterCents !== b.balanceAfterCents ||
    a.postedAt !== b.postedAt
  return isOne && differ && !tellsOfItsLoss(later.head, earlier.head)
}

/**
 * Whether a receipt and the balance of a month contradict each other: the movement was posted before the month's end, and the card is said
 * to have had fewer movements by then, or another balance after this one.
 */
export function contradict(receipt: Receipt, holding: Holding): boolean {
  const movement = receipt.movement
  const month = new Date(movement.postedAt / 1000).toISOString().slice(0, 7)
  if (movement.cardNo !== holding.cardNo || month > holding.published.month) return false
  return (
    movement.cardSeq > holding.cardSeq ||
    (movement.cardSeq === holding.cardSeq && movement.balanceAfterCents !== holding.balanceCents)
  )
}

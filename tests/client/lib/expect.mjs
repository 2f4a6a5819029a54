// What an answer must be.
import assert from 'node:assert/strict';
import { backend } from './api.mjs';
import { books } from './psql.mjs';

let texts;
/** The hint of a token: its English text in app.error_codes after the first sentence, which says what happened. */
async function whatToDo(token) {
  if (!texts) {
    const { data, error } = await backend.from('error_codes').select('token, message_en');
    assert.equal(error, null);
    texts = new Map(data.map((row) => [row.token, /^.+?\. (.+)$/.exec(row.message_en)[1]]));
  }
  return texts.get(token);
}

/** The data of an answer that must be a success. */
export function ok(answer) {
  assert.equal(answer.error, null, `refused: ${JSON.stringify(answer.error)}`);
  assert.ok(answer.status === 200 || answer.status === 204, `HTTP ${answer.status}`);
  return answer.data;
}

/** The only row of an answer that must be a success with one row. */
export function row(answer) {
  const data = ok(answer);
  assert.equal(data.length, 1, JSON.stringify(data));
  return data[0];
}

/** An answer that must be this error of MPS: HTTP status, token, what happened (`details`: or about what) and what to do. */
export async function refused(answer, status, token, details) {
  assert.deepEqual(
    { status: answer.status, message: answer.error?.message, code: answer.error?.code },
    { status, message: token, code: `PT${status}` },
    `got ${answer.status} ${JSON.stringify(answer.error ?? answer.data)}`,
  );
  assert.equal(answer.data, null);
  assert.equal(answer.error.hint, await whatToDo(token));
  assert.match(answer.error.details, details ?? /^\S.* .*\S$/);
}

/** An answer that must be PostgreSQL's own refusal. */
export function denied(answer, status, message) {
  assert.equal(answer.status, status, JSON.stringify(answer.error ?? answer.data));
  assert.equal(answer.error.code, '42501');
  assert.match(answer.error.message, message);
}

/** Sends a request that must be this error and must leave no trace in the books. */
export async function refusedAndStill(request, status, token, details) {
  const before = books();
  await refused(await request(), status, token, details);
  assert.equal(books(), before, `${token} moved something`);
}

// The user's conversations on the server: listed, renamed, and erased after a moment to undo it.

import { deleteConversation, listConversations, renameConversation } from './api.js';
import * as memory from './memory.js';

const undoFor = 5_000;
const erased = new Set();

let list = [];
let next = null;
let owner = null;
let pendingErase = null;
let reading = null;
let onChange = () => {};

/** @param callback called whenever the list has changed. */
export function watchConversations(callback) {
  onChange = callback;
  document.addEventListener('visibilitychange', () => document.hidden || refresh());
  addEventListener('pagehide', commitErase);
}

/** Newest first: { id, title, touchedAt }. */
export const conversations = () => list.filter(one => !erased.has(one.id));
export const hasMore = () => next !== null;
export const titleOf = id => list.find(one => one.id === id)?.title ?? '';

/** Reads the newest page again; conversations of older pages stay. */
export function refresh() {
  const name = memory.name();
  if (reading?.name !== name) {
    const started = { name, done: read(null).finally(() => { if (reading === started) reading = null; }) };
    reading = started;
  }
  return reading.done;
}

export const loadMore = () => (next === null ? Promise.resolve() : read(next));

async function read(after) {
  const name = memory.name();
  if (!name) return;
  const askedAt = performance.now();
  const page = await listConversations(name, after).catch(() => null); // The page's connection notice says so.
  if (page === null || name !== memory.name()) return;
  if (name !== owner) [list, next, owner] = [[], null, name];
  const ids = new Set(page.conversations.map(one => one.id));
  const isFirst = after === null;
  // What is missing in the whole list was erased elsewhere, or created here since.
  const isWhole = isFirst && page.next === null;
  const others = list.filter(one => !ids.has(one.id) && (!isWhole || one.touchedAt > askedAt));
  const knewMore = isFirst && others.length > 0;
  list = isFirst ? [...page.conversations, ...others] : [...others, ...page.conversations];
  if (isWhole || !knewMore) next = page.next;
  onChange();
}

/** Shows a conversation at the top before the server lists it. */
export function touch(id, title) {
  if (memory.name() !== owner) [list, next, owner] = [[], null, memory.name()];
  const known = list.find(one => one.id === id);
  list = [{ id, title, ...known, touchedAt: performance.now() }, ...list.filter(one => one.id !== id)];
  onChange();
}

export async function rename(id, title) {
  const renamed = await renameConversation(id, title);
  list = list.map(one => (one.id === id ? { ...one, title: renamed.title } : one));
  onChange();
}

/** Hides a conversation, and erases it when it is not brought back in time. */
export function erase(id, onFailed) {
  commitErase();
  erased.add(id);
  const commit = () => {
    clearTimeout(timer);
    pendingErase = null;
    deleteConversation(id).then(() => { list = list.filter(one => one.id !== id); }, error => {
      erased.delete(id);
      if (error.status !== 404) onFailed(error);
      onChange();
    });
  };
  const timer = setTimeout(commit, undoFor);
  pendingErase = { id, commit, timer };
  onChange();
}

export function undoErase() {
  if (pendingErase === null) return;
  clearTimeout(pendingErase.timer);
  erased.delete(pendingErase.id);
  pendingErase = null;
  onChange();
}

/** A second erase does not wait for the first one's time. */
function commitErase() {
  pendingErase?.commit();
}

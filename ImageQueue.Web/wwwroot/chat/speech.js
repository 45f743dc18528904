// What a message's state is in words, for screen readers and titles.

import { announce } from './announcer.js';
import { isUnfinished } from './messages.js';
import { number, optionalText, percent, text } from './page.js';

/** Announces a change that is worth hearing. */
export function say(message, before) {
  if (!before) {
    if (isUnfinished(message)) announce(message.id, describe(message));
    return;
  }

  const halfway = message.status === 'processing' && before.progress < 50 && message.progress >= 50;
  const next = message.status === 'queued' && message.position === 1 && before.position !== 1;
  if (before.status !== message.status || halfway || next) announce(message.id, describe(message));
}

export function describe(message) {
  const state = {
    queued: () => message.position === 1 ? text('WaitingNext') : message.position > 1 ? text('WaitingAt', { position: number(message.position) }) : text('Waiting'),
    processing: () => message.progress > 0 ? text('GeneratingAt', { percent: percent(message.progress) }) : text('Starting'),
    complete: () => text('Ready'),
    error: () => optionalText(`Error_${message.errorCode}`) ?? message.error ?? text('Error'),
    cancelled: () => text('Cancelled'),
  }[message.status];
  return state ? `${state()}: ${titleFrom(message.prompt)}` : message.content;
}

/** One line of at most 60 characters. */
export function titleFrom(words) {
  const line = words.replace(/\s+/g, ' ').trim();
  return line.length > 60 ? `${line.slice(0, 59).trimEnd()}…` : line;
}

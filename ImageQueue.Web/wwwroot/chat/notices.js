// Shows progress in the tab's title and, where enabled, by notifications.

import * as memory from './memory.js';
import { address, number, percent, setText, text } from './page.js';

const product = 'ImageQueue';
const doneShown = 4_000;
const button = document.getElementById('notify');

let done = false;
let shown = () => '';

/** Shows the furthest image: its progress, else its position, else a finished mark. */
export function showTitle(conversationTitle, unfinished) {
  shown = () => {
    const generating = unfinished.filter(one => one.status === 'processing').sort((a, b) => b.progress - a.progress)[0];
    const next = unfinished.filter(one => one.position > 0).sort((a, b) => a.position - b.position)[0];
    const state = generating
      ? percent(generating.progress)
      : next ? (next.position === 1 ? text('WaitingNext') : text('WaitingAt', { position: number(next.position) })) : done ? '✓' : '';
    return [state, conversationTitle, product].filter(Boolean).join(' · ');
  };
  refreshTitle();
}

function refreshTitle() {
  const title = shown();
  if (document.title !== title) document.title = title;
}

export function imageReady({ prompt, id, imageUrl }) {
  done = true;
  refreshTitle();
  if (!document.hidden) clearDoneSoon();
  if (document.hidden && memory.wantsNotifications() && permission() === 'granted') notify(prompt, id, imageUrl);
}

function notify(prompt, id, imageUrl) {
  try {
    const notification = new Notification(text('Ready'), { body: prompt.slice(0, 120), tag: `imagequeue-${id}`, icon: imageUrl ? address(imageUrl) : undefined });
    notification.addEventListener('click', () => {
      focus();
      notification.close();
    });
  } catch {
    // Chrome on Android knows the class but allows it to service workers only.
    button.hidden = true;
  }
}

function clearDoneSoon() {
  setTimeout(() => {
    if (document.hidden) return;
    done = false;
    refreshTitle();
  }, doneShown);
}

const permission = () => ('Notification' in globalThis && isSecureContext ? Notification.permission : 'missing');

function showButton() {
  const state = permission();
  const on = state === 'granted' && memory.wantsNotifications();
  button.hidden = state === 'missing';
  button.disabled = state === 'denied';
  button.setAttribute('aria-pressed', String(on));
  setText(document.getElementById('notify-text'), text(state === 'denied' ? 'NotifyDenied' : 'Notify'));
}

/** Asks for permission only when the user presses the button. */
export function offerNotifications() {
  button.addEventListener('click', async () => {
    if (permission() === 'default') memory.setWantsNotifications((await Notification.requestPermission()) === 'granted');
    else memory.setWantsNotifications(!memory.wantsNotifications());
    showButton();
  });
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    showButton();
    clearDoneSoon();
  });
  showButton();
}

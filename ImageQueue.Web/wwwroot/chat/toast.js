// A sentence over the page that goes by itself.

import { setText } from './page.js';

const element = id => document.getElementById(id);
let toastTimer = 0;

export function showToast(sentence, canUndo = false) {
  clearTimeout(toastTimer);
  setText(element('toast-text'), sentence);
  element('toast-undo').hidden = !canUndo;
  element('toast').hidden = false;
  if (canUndo) element('toast-undo').focus();
  toastTimer = setTimeout(hideToast, 5_000);
}

export function hideToast() {
  if (element('toast').contains(document.activeElement)) element('new-conversation').focus();
  element('toast').hidden = true;
}

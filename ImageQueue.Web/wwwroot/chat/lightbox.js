// Shows images full size and pages through the conversation's images.

import { setText } from './page.js';

const element = id => document.getElementById(id);
const dialog = element('lightbox');
const image = element('lightbox-image');
const previous = element('lightbox-previous');
const next = element('lightbox-next');

let images = [];
let at = 0;

/** @param list [{ url, prompt, fileName }] */
export function openLightbox(list, index) {
  if (index < 0) return;
  images = list;
  show(index);
  dialog.showModal();
}

function show(index) {
  if (index < 0 || index >= images.length) return;
  at = index;
  const { url, prompt, fileName } = images[at];
  image.src = url;
  image.alt = prompt;
  setText(element('lightbox-caption'), prompt);
  element('lightbox-download').href = url;
  element('lightbox-download').download = fileName;
  previous.hidden = at === 0;
  next.hidden = at === images.length - 1;
}

previous.addEventListener('click', () => show(at - 1));
next.addEventListener('click', () => show(at + 1));
element('lightbox-close').addEventListener('click', () => dialog.close());
dialog.addEventListener('click', event => {
  if (event.target === dialog || event.target.localName === 'figure') dialog.close();
});
dialog.addEventListener('close', () => image.removeAttribute('src'));
dialog.addEventListener('keydown', event => {
  if (event.key === 'ArrowLeft') show(at - 1);
  if (event.key === 'ArrowRight') show(at + 1);
});

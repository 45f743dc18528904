// What the image servers can do. CSS hides what an element's data-needs names and they cannot do.

import { getModels } from './api.js';

const freshFor = 60_000;
let able = [];
let askedAt = -freshFor;

/** @param what text_to_image, image_to_image, inpaint or upscale. */
export const can = what => able.includes(what);

/** Reads it again once a minute, and with each call while a server has not been asked yet. */
export async function refreshAbilities() {
  if (able.length > 1 && performance.now() - askedAt < freshFor) return;
  askedAt = performance.now();
  able = (await getModels()).can ?? [];
  document.documentElement.dataset.can = able.join(' ');
}

// The page's texts in the language that the server chose, and number and time formats.

const page = JSON.parse(document.getElementById('page').textContent);
const language = document.documentElement.lang;

// Formats follow the reader's variant of the page's language: "14:05" in en-GB, "2:05 PM" in en-US.
const locale = navigator.languages.find(one => one.toLowerCase().split('-')[0] === language) ?? language;

export const longestPrompt = page.longestPrompt;

/** The text with this name, its {placeholders} filled in. */
export function text(key, values = {}) {
  return page.texts[key].replace(/\{(\w+)\}/g, (placeholder, name) => values[name] ?? placeholder);
}

/** The text with this name, or null where there is none. */
export const optionalText = key => (Object.hasOwn(page.texts, key) ? page.texts[key] : null);

/** An address: a path of ours is put under the application's path base, and one that the API gave ("/...") begins with it. */
export const address = path => (path.startsWith('/') ? path : page.root + path);

const percentFormat = new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 0 });
const numberFormat = new Intl.NumberFormat(locale);
const timeFormat = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit' });
const dateTimeFormat = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
const fullFormat = new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeStyle: 'medium' });

export const percent = value => percentFormat.format(value / 100);
export const number = value => numberFormat.format(value);
export const fullTime = date => fullFormat.format(date);

/** The time today, date and time otherwise. */
export function shortTime(date) {
  const today = date.toDateString() === new Date().toDateString();
  return (today ? timeFormat : dateTimeFormat).format(date);
}

function unit(value, name, digits) {
  return new Intl.NumberFormat(locale, { style: 'unit', unit: name, unitDisplay: 'short', maximumFractionDigits: digits }).format(value);
}

/** A duration: "12.4 sec", "3 min". */
export function duration(seconds) {
  if (seconds < 90) return unit(seconds, 'second', seconds < 20 ? 1 : 0);
  return seconds < 5400 ? unit(seconds / 60, 'minute', seconds < 600 ? 1 : 0) : unit(seconds / 3600, 'hour', 1);
}

/** A rounded estimate. */
export function estimate(seconds) {
  if (seconds < 60) return unit(Math.max(5, Math.ceil(seconds / 5) * 5), 'second', 0);
  return seconds < 5400 ? unit(Math.round(seconds / 60), 'minute', 0) : unit(seconds / 3600, 'hour', 1);
}

/** Sets an element's text only when it differs, so that screen readers do not repeat it. */
export function setText(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

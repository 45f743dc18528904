// A safe subset of Markdown: bold, italic, code, lists and links, built as elements and never as HTML text.

const inline = /(`[^`\n]+`)|(\*\*[^*\n]+\*\*)|(\*[^*\s][^*\n]*\*)|\[([^\]\n]+)\]\((https?:\/\/[^\s()]+)\)|(https?:\/\/[^\s<>"]*[^\s<>".,:;!?)\]])/g;

/** Fills an element with the text's lines. */
export function renderMarkdown(element, text) {
  element.replaceChildren();
  let items = null;
  let code = null;
  for (const line of text.split('\n')) {
    if (line.trim().startsWith('```')) {
      if (code) code = null;
      else element.append(code = document.createElement('pre'));
      items = null;
    } else if (code) {
      code.append(`${line}\n`);
    } else if (/^\s*[-*] /.test(line)) {
      if (!items) element.append(items = document.createElement('ul'));
      const item = document.createElement('li');
      renderLine(item, line.replace(/^\s*[-*] /, ''));
      items.append(item);
    } else {
      if (element.lastChild && !items) element.append('\n');
      items = null;
      renderLine(element, line);
    }
  }
}

function renderLine(parent, line) {
  let from = 0;
  for (const match of line.matchAll(inline)) {
    const [whole, code, bold, italic, label, target, url] = match;
    parent.append(line.slice(from, match.index));
    parent.append(
      code ? wrap('code', code.slice(1, -1))
        : bold ? wrap('strong', bold.slice(2, -2))
        : italic ? wrap('em', italic.slice(1, -1))
        : link(target ?? url, label ?? url));
    from = match.index + whole.length;
  }
  parent.append(line.slice(from));
}

function wrap(name, text) {
  const element = document.createElement(name);
  element.textContent = text;
  return element;
}

function link(url, text) {
  const element = wrap('a', text);
  element.href = url;
  element.target = '_blank';
  element.rel = 'noopener noreferrer nofollow';
  return element;
}

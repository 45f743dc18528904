// Reads image files in the browser, and makes them small enough to upload.

const types = ['image/png', 'image/jpeg', 'image/webp'];
const longestSide = 2048;
const mostBytes = 20 * 1024 * 1024;

/**
 * Decodes an image file; upright, as its camera says.
 * @returns { bitmap, blob }: the blob is what to upload, scaled down or converted where the server would refuse the file.
 */
export async function readImage(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, longestSide / Math.max(bitmap.width, bitmap.height));
  if (scale === 1 && types.includes(file.type) && file.size <= mostBytes) return { bitmap, blob: file };
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return { bitmap, blob: await toBlob(canvas, file.type === 'image/jpeg' ? file.type : 'image/png') };
}

/** Draws an image into a square canvas, cut to its middle. */
export function drawThumbnail(canvas, image) {
  const [width, height] = [image.naturalWidth ?? image.width, image.naturalHeight ?? image.height];
  const side = Math.min(width, height);
  const context = canvas.getContext('2d');
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, (width - side) / 2, (height - side) / 2, side, side, 0, 0, canvas.width, canvas.height);
}

export function loadImage(url) {
  const image = new Image();
  image.src = url;
  return image.decode().then(() => image);
}

export const toBlob = (canvas, type) => new Promise((resolve, reject) =>
  canvas.toBlob(blob => blob ? resolve(blob) : reject(new Error(`The canvas has no ${type}.`)), type, 0.92));

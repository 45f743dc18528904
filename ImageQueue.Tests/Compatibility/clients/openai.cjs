// Calls a running ImageQueue as a chat app does, with OpenAI's own client. Prints one line of JSON with what came.
const { default: OpenAI, toFile } = require('openai');

async function main([baseURL, apiKey, what]) {
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 2 });
  const ask = { model: 'dall-e-3', prompt: 'a red boat', size: '256x256', user: 'ayse' };
  switch (what) {
    case 'two': {
      const answer = await client.images.generate({ ...ask, n: 2, response_format: 'b64_json' });
      return answer.data.map(image => Buffer.from(image.b64_json, 'base64').subarray(1, 4).toString());
    }
    case 'url': {
      const answer = await client.images.generate(ask);
      const image = await fetch(answer.data[0].url);
      return { status: image.status, type: image.headers.get('content-type'), bytes: (await image.arrayBuffer()).byteLength > 100 };
    }
    case 'change': {
      const magic = image => Buffer.from(image.b64_json, 'base64').subarray(1, 4).toString();
      const made = await client.images.generate({ ...ask, response_format: 'b64_json' });
      const image = () => toFile(Buffer.from(made.data[0].b64_json, 'base64'), 'boat.png', { type: 'image/png' });
      const edit = { model: 'gpt-image-1', image: [await image(), await image()], prompt: 'at night', user: 'ayse' };
      const edited = await client.images.edit(edit);
      const varied = await client.images.createVariation({ image: await image(), n: 2, response_format: 'b64_json', user: 'ayse' });
      const stream = await client.images.edit({ ...edit, image: await image(), stream: true });
      let last;
      for await (const event of stream) last = event;
      return { edited: magic(edited.data[0]), varied: varied.data.map(magic), streamed: last.type };
    }
    case 'stream': {
      const stream = await client.images.generate({ ...ask, model: 'gpt-image-1', stream: true, partial_images: 2, output_format: 'webp' });
      const events = [];
      for await (const event of stream) events.push({ type: event.type, magic: Buffer.from(event.b64_json, 'base64').subarray(8, 12).toString() });
      return events;
    }
    case 'models': {
      const models = [];
      for await (const model of client.models.list()) models.push(model.id);
      return { models, one: (await client.models.retrieve(models[0])).object };
    }
    case 'error':
      try {
        await client.images.generate({ ...ask, prompt: '[fault:500] a boat' });
        return 'no error';
      } catch (error) {
        return { name: error.constructor.name, status: error.status, code: error.code };
      }
    case 'invalid':
      try {
        await client.images.generate({ ...ask, size: '10x10' });
        return 'no error';
      } catch (error) {
        return { name: error.constructor.name, status: error.status, param: error.param };
      }
    case 'abort': {
      const controller = new AbortController();
      const call = client.images.generate({ ...ask, prompt: '[fault:slow] to be aborted' }, { signal: controller.signal });
      setTimeout(() => controller.abort(), 1500);
      try {
        await call;
        return 'no error';
      } catch (error) {
        return { name: error.constructor.name };
      }
    }
    default:
      throw new Error(`There is no ${what}.`);
  }
}

main(process.argv.slice(2)).then(result => console.log(JSON.stringify(result))).catch(error => {
  console.error(error);
  process.exitCode = 1;
});

// Calls a running ImageQueue as a bot does, with a client of A1111's API. Prints one line of JSON with what came.
const { StableDiffusionApi } = require('a1111-webui-api');

async function main([baseUrl, key]) {
  const api = new StableDiffusionApi({ baseUrl });
  api.setAuth('mehmet', key);
  const models = await api.getSdModels();
  await api.setModel(models[1].title);
  const result = await api.txt2img({ prompt: 'a green tree', width: 256, height: 256, steps: 4, batch_size: 2, seed: 7 });
  const info = typeof result.info === 'string' ? JSON.parse(result.info) : result.info;
  const varied = await api.img2img({
    prompt: 'in autumn', init_images: [result.images[0]], denoising_strength: 0.4, width: 256, height: 256, steps: 4,
  });
  const changed = await varied.images[0].metadata();
  const images = await Promise.all(result.images.map(image => image.metadata()));
  return {
    sizes: images.map(image => [image.format, image.width, image.height]),
    seeds: info.all_seeds,
    model: info.sd_model_name,
    chosen: (await api.getOptions()).sd_model_checkpoint,
    varied: [changed.format, changed.width, changed.height],
    samplers: (await api.getSamplers()).length > 0,
  };
}

main(process.argv.slice(2)).then(result => console.log(JSON.stringify(result))).catch(error => {
  console.error(error);
  process.exitCode = 1;
});

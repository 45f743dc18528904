using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Configuration;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Requests;

/// <summary>What a request gets from its model, what it may choose, and which settings of models make sense.</summary>
[TestFixture]
[Category(Categories.Store)]
internal sealed class ModelChoiceTests
{
    private static readonly ImageRequest Plain = new() { ConversationId = "demo", Username = "ayşe", Prompt = "bir kedi" };

    private static readonly Dictionary<string, string?> Two = new()
    {
        ["Forge:Defaults:AdditionalModules:0"] = "ae.safetensors",
        ["Forge:Backends:0:Url"] = "http://gpu1:7860",
        ["Forge:Backends:0:Name"] = "gpu1",
        ["Forge:Models:sdxl:Title"] = "SDXL, hızlı",
        ["Forge:Models:sdxl:Checkpoint"] = "sdxl-turbo",
        ["Forge:Models:sdxl:Steps"] = "4",
        ["Forge:Models:sdxl:CfgScale"] = "1.5",
        ["Forge:Models:sdxl:Width"] = "512",
        ["Forge:Models:sdxl:Sampler"] = "Euler a",
        ["Forge:Models:sdxl:Backends:0"] = "gpu1",
        ["Forge:Models:flux:Checkpoint"] = "flux1-dev",
        ["Forge:Models:flux:AdditionalModules:0"] = "clip_l.safetensors",
    };

    [Test]
    public void All_HasTheDefaultFirst_ThenByName()
    {
        Assert.That(
            Models(Two).All.Select(model => (model.Name, model.Title)), Is.EqualTo(new[] { ("flux", "flux"), ("sdxl", "SDXL, hızlı") }));
        Assert.That(Models(Two, ("Forge:DefaultModel", "SDXL")).All.Select(model => model.Name), Is.EqualTo(new[] { "sdxl", "flux" }));
        Assert.That(Models(Two).Find("sdxl")!.Backends, Is.EqualTo(new[] { "gpu1" }));
    }

    [Test]
    public void Settings_HaveTheModelsDefaults_ForWhatIsLeftOut()
    {
        var settings = Models(Two).Complete(Plain with { Model = "SDXL", Height = 768, NegativePrompt = "blurred" }).ToJson();

        Assert.That(settings.ToJsonString(), Is.EqualTo(
            """{"width":512,"height":768,"steps":4,"cfg_scale":1.5,"distilled_cfg_scale":3.5,"sampler":"Euler a","scheduler":"Simple",""" +
            "\"seed\":-1,\"model\":\"sdxl\",\"negative_prompt\":\"blurred\",\"checkpoint\":\"sdxl-turbo\"}"));
    }

    [Test]
    public async Task Settings_AreTheSame_WhenStoredAndReadBack()
    {
        await using var bench = await Bench.CreateAsync();
        var settings = new GenerationSettings
        {
            NegativePrompt = "bulanık",
            Width = 512,
            Height = 768,
            Steps = 4,
            CfgScale = 1.5m,
            DistilledCfgScale = 3.25m,
            Sampler = "Euler a",
            Scheduler = "Simple",
            Seed = uint.MaxValue,
            Model = "sdxl",
            Checkpoint = "sdxl-turbo",
        };
        var stored = await bench.Store.SubmitAsync(
            new NewImageMessage(
                "demo", "ayşe", "00000000000000000000000000000001", "bir kedi", settings.ToJson(), 1, null), UserLimits.None, default);

        Assert.That(GenerationSettings.Of(stored.Message), Is.EqualTo(settings));
        Assert.That(
            typeof(GenerationSettings).GetProperties().Where(property => property.GetValue(settings) is null)
                .Select(property => property.Name),
            Is.Empty,
            "a new parameter belongs into this test");
    }

    [Test]
    public void Settings_HaveTheFirstModel_WhenNoneIsNamed()
    {
        var settings = Models(Two).Complete(Plain).ToJson();

        Assert.That(
            ((string?)settings["model"], (string?)settings["checkpoint"], (int)settings["width"]!),
            Is.EqualTo(("flux", "flux1-dev", 1024)));
    }

    [Test]
    public void Settings_HaveNoModel_WhenACheckpointIsNamedOrThereIsNone()
    {
        var named = Models(Two).Complete(Plain with { Checkpoint = "other" }).ToJson();
        var none = Models([]).Complete(Plain).ToJson();

        Assert.That((named.ContainsKey("model"), (string?)named["checkpoint"]), Is.EqualTo((false, "other")));
        Assert.That((none.ContainsKey("model"), none.ContainsKey("checkpoint")), Is.EqualTo((false, false)));
    }

    [TestCase("flux", null, "flux1-dev", "clip_l.safetensors")]
    [TestCase("sdxl", null, "sdxl-turbo", null)] // Another model's modules do not fit.
    [TestCase(null, "other", "other", "ae.safetensors")]
    public async Task Generating_HasTheModelsCheckpointAndItsOwnModules(string? model, string? checkpoint, string generated, string? module)
    {
        await using var bench = await Bench.CreateAsync();
        var models = Models(Two);
        var settings = models.Complete(Plain with { Model = model, Checkpoint = checkpoint }).ToJson();
        var stored = await bench.Store.SubmitAsync(
            new NewImageMessage(
                "demo",
                "ayşe",
                "00000000000000000000000000000001",
                "bir kedi",
                settings,
                1,
                null), UserLimits.None, CancellationToken.None);

        var request = models.RequestOf(stored.Message);

        Assert.That(request.Checkpoint, Is.EqualTo(generated));
        Assert.That(request.AdditionalModules, Is.EqualTo(module is null ? [] : new[] { module }));
    }

    [Test]
    public async Task Generating_KeepsWhatWasStored_WhenTheModelIsGone()
    {
        await using var bench = await Bench.CreateAsync();
        var settings = Models(Two).Complete(Plain with { Model = "sdxl" }).ToJson();
        var stored = await bench.Store.SubmitAsync(
            new NewImageMessage(
                "demo",
                "ayşe",
                "00000000000000000000000000000001",
                "bir kedi",
                settings,
                1,
                null), UserLimits.None, CancellationToken.None);

        var request = Models([]).RequestOf(stored.Message);

        Assert.That((request.Checkpoint, request.Steps, request.Sampler), Is.EqualTo(("sdxl-turbo", 4, "Euler a")));
    }

    [Test]
    public void Check_RefusesAModelThatIsNotOffered_WithTheList() =>
        Assert.That(
            () => Choices(Two).Check(Plain with { Model = "sd15" }),
            Throws.TypeOf<UnknownModelException>().With.Message.EqualTo(
                "There is no model 'sd15'. Send one of these, or leave model out: flux, sdxl."));

    [TestCase(null, true, ExpectedResult = true)]
    [TestCase(null, false, ExpectedResult = false)]
    [TestCase("true", false, ExpectedResult = true)]
    [TestCase("false", true, ExpectedResult = false)]
    public bool Check_TakesACheckpoint_AsTheSettingSays_OrWhereThereIsNoList(string? setting, bool withoutModels) =>
        Choices(withoutModels ? [] : Two, more: ("Forge:AllowAnyCheckpoint", setting)).Check(Plain with { Checkpoint = "x" }).Count == 0;

    [Test]
    public void Check_RefusesModelAndCheckpointTogether() =>
        Assert.That(
            Choices(Two, more: ("Forge:AllowAnyCheckpoint", "true")).Check(Plain with { Model = "flux", Checkpoint = "x" })["checkpoint"],
            Is.EqualTo(new[] { "checkpoint and model cannot both be sent; leave out one of them." }));

    [Test]
    public void Check_RefusesSamplersAndSchedulers_ThatNoServerHas()
    {
        var catalogue = Mock.Of<IForgeCatalogue>(one => one.Samplers == new[] { "Heun", "Euler" } && one.Schedulers == new[] { "Simple" }
            && one.HasSampler("euler") && one.HasScheduler("simple"));
        var choices = Choices(Two, catalogue);

        var errors = choices.Check(Plain with { Sampler = "Oyler", Scheduler = "Karras" });

        Assert.Multiple(() =>
        {
            Assert.That(
                errors["sampler"], Is.EqualTo(new[] { "sampler 'Oyler' is not known to any image server here. These are: Euler, Heun." }));
            Assert.That(errors["scheduler"], Has.Length.EqualTo(1));
            Assert.That(choices.Check(Plain with { Sampler = "euler", Scheduler = "simple" }), Is.Empty);
            Assert.That(Choices(Two).Check(Plain with { Sampler = "Oyler" }), Is.Empty, "nothing is known yet");
        });
    }

    [TestCase("flux", "No image server here has the model 'flux'. Send one of these as model: sdxl.")]
    [TestCase(null, "No image server here has the model 'flux'. Send one of these as model: sdxl.", Description = "the default")]
    [TestCase("sdxl", null)]
    public void Check_RefusesAModel_WhenNoBackendHasIt(string? model, string? sentence)
    {
        var missing = Models(Two).All.Where(one => one.Name == "flux").ToList();
        var choices = Choices(Two, Mock.Of<IForgeCatalogue>(one => one.MissingModels == missing));

        Assert.That(
            () => choices.Check(Plain with { Model = model }),
            sentence is null ? Is.Empty : Throws.TypeOf<UnknownModelException>().With.Message.EqualTo(sentence));
    }

    [Test]
    public void Validate_Succeeds_WhenModelsAreGood() => Assert.That(Failures(Two), Is.Empty);

    [TestCase("Forge:Models:flux:Checkpoint", " ", "Forge:Models:flux:Checkpoint must name a checkpoint, as Forge calls it.")]
    [TestCase("Forge:Models:flux:Width", "500", "Forge:Models:flux:Width must be a multiple of 8 from 64 to 2048, not 500.")]
    [TestCase("Forge:Models:flux:Steps", "0", "Forge:Models:flux:Steps must be from 1 to 150, not 0.")]
    [TestCase("Forge:Models:flux:CfgScale", "31", "Forge:Models:flux:CfgScale must be from 0 to 30, not 31.")]
    [TestCase("Forge:Models:flux:Sampler", " ", "Forge:Models:flux:Sampler must not be empty.")]
    [TestCase("Forge:Models:flux:Backends:0", "gpu9",
        "Forge:Models:flux:Backends names 'gpu9', which is no Name in Forge:Backends. There: gpu1.")]
    [TestCase("Forge:Models:a b:Checkpoint", "x",
        "Forge:Models:a b is no name for a model: use up to 64 letters without accents, digits, dots, dashes and single underscores.")]
    [TestCase("Forge:Models:flux:Seed", "7", "Forge:Models:flux:Seed belongs to a request; remove it.")]
    [TestCase("Forge:DefaultModel", "sd15", "Forge:DefaultModel is 'sd15', which is none of Forge:Models; there are: flux, sdxl.")]
    [TestCase("Forge:Defaults:Height", "65", "Forge:Defaults:Height must be a multiple of 8 from 64 to 2048, not 65.")]
    public void Validate_SaysWhatIsWrong_AndNamesTheKey(string key, string value, string sentence) =>
        Assert.That(Failures(Two, (key, value)), Is.EqualTo(new[] { sentence }));

    [TestCase("""{"Forge":{"Models":{}}}""", null)]
    [TestCase("""{"Forge":{"Models":null}}""", null)]
    [TestCase("""{"Forge":{"Models":{"flux":{}}}}""", "Forge:Models:flux:Checkpoint must name a checkpoint, as Forge calls it.")]
    public void Settings_MayBeEmptyInAFile(string json, string? sentence)
    {
        using var file = new MemoryStream(Encoding.UTF8.GetBytes(json));
        var options = new ConfigurationBuilder().AddJsonStream(file).Build().GetSection(ForgeOptions.Section)
            .Get<ForgeOptions>() ?? new ForgeOptions();

        Assert.That(
            new ForgeModelsValidator().Validate(null, options).Failures ?? [], Is.EqualTo(sentence is null ? [] : new[] { sentence }));
        Assert.That(new ForgeModels(options).All, Has.Count.EqualTo(sentence is null ? 0 : 1));
    }

    private static ForgeOptions Options(Dictionary<string, string?> settings, (string Key, string? Value) more = default)
    {
        var configuration = new ConfigurationBuilder().AddInMemoryCollection(settings);
        if (more.Key is not null)
            configuration.AddInMemoryCollection(new Dictionary<string, string?> { [more.Key] = more.Value });
        return configuration.Build().GetSection(ForgeOptions.Section).Get<ForgeOptions>() ?? new ForgeOptions();
    }

    private static ForgeModels Models(Dictionary<string, string?> settings, (string Key, string? Value) more = default) =>
        new(Options(settings, more));

    private static RequestChoices Choices(
        Dictionary<string, string?> settings, IForgeCatalogue? catalogue = null, (string Key, string? Value) more = default) =>
        new(Models(settings, more), catalogue ?? Mock.Of<IForgeCatalogue>());

    private static IEnumerable<string> Failures(Dictionary<string, string?> settings, (string Key, string? Value) more = default) =>
        new ForgeModelsValidator().Validate(null, Options(settings, more)).Failures ?? [];
}

using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.ModelBinding;

namespace ImageQueue.Web.Api;

/// <summary>
/// A conversation's id in a path: percent-decoded once and whole, so that it is the same text as in the hub and in the database.
/// An invalid id is refused with 422.
/// </summary>
[AttributeUsage(AttributeTargets.Parameter)]
internal sealed class ConversationIdAttribute : ModelBinderAttribute
{
    public const string ParameterName = ConversationPath.ParameterName;

    public ConversationIdAttribute()
        : base(typeof(Binder))
    {
        Name = ParameterName;
        BindingSource = BindingSource.Path;
    }

    /// <summary>A sentence that says why the id is invalid; null when it is valid.</summary>
    public static string? Problem(string? id)
    {
        var rules = new RequestRules();
        rules.Name(ParameterName, id ?? "");
        return rules.Errors.Values.FirstOrDefault()?[0];
    }

    public static string NotFoundSentence(string id) => $"Conversation {id} not found. It comes to exist with its first message.";

    public static IActionResult NotFound(string id) => ApiProblem.Result(ProblemCodes.NotFound, NotFoundSentence(id));

    private sealed class Binder : IModelBinder
    {
        public Task BindModelAsync(ModelBindingContext bindingContext)
        {
            var id = ConversationPath.IdOf(bindingContext.HttpContext);
            var problem = id is null ? $"{ParameterName} is not valid UTF-8; percent-encode its UTF-8 bytes." : Problem(id);
            if (problem is null)
                bindingContext.Result = ModelBindingResult.Success(id);
            else
                bindingContext.ModelState.TryAddModelException(ParameterName, new UnprocessableException(problem));
            return Task.CompletedTask;
        }
    }
}

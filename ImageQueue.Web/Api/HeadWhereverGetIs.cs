using Microsoft.AspNetCore.Mvc.ActionConstraints;
using Microsoft.AspNetCore.Mvc.ApplicationModels;

namespace ImageQueue.Web.Api;

/// <summary>Every GET endpoint answers HEAD too (RFC 9110, section 9.1). Kestrel leaves the body out.</summary>
internal sealed class HeadWhereverGetIs : IActionModelConvention
{
    public void Apply(ActionModel action)
    {
        foreach (var selector in action.Selectors)
        {
            foreach (var constraint in selector.ActionConstraints.OfType<HttpMethodActionConstraint>().Where(NeedsHead).ToList())
            {
                selector.ActionConstraints.Remove(constraint);
                selector.ActionConstraints.Add(new HttpMethodActionConstraint([.. constraint.HttpMethods, HttpMethods.Head]));
            }

            var withoutHead = selector.EndpointMetadata.OfType<HttpMethodMetadata>().Where(metadata => NeedsHead(metadata.HttpMethods));
            foreach (var metadata in withoutHead.ToList())
            {
                selector.EndpointMetadata.Remove(metadata);
                selector.EndpointMetadata.Add(
                    new HttpMethodMetadata([.. metadata.HttpMethods, HttpMethods.Head], metadata.AcceptCorsPreflight));
            }
        }
    }

    private static bool NeedsHead(HttpMethodActionConstraint constraint) => NeedsHead(constraint.HttpMethods);

    private static bool NeedsHead(IEnumerable<string> methods) =>
        methods.Contains(HttpMethods.Get, StringComparer.OrdinalIgnoreCase)
            && !methods.Contains(HttpMethods.Head, StringComparer.OrdinalIgnoreCase);
}

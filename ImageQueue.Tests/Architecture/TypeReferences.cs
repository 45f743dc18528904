using Mono.Cecil;
using Mono.Cecil.Cil;

namespace ImageQueue.Tests.Architecture;

/// <summary>Which types of ours each type of an assembly refers to, in signatures, attributes and method bodies.</summary>
internal static class TypeReferences
{
    /// <summary>Full names of top-level types: who refers, and to what. What nested types refer to counts for the outermost one.</summary>
    public static HashSet<(string From, string To)> Of(System.Reflection.Assembly assembly)
    {
        using var module = ModuleDefinition.ReadModule(assembly.Location);
        var found = new HashSet<(string, string)>();
        foreach (var type in module.GetTypes())
        {
            var from = Outermost(type);
            foreach (var to in Named(type).SelectMany(Parts).Select(Outermost))
            {
                if (to != from && to.StartsWith("ImageQueue.", StringComparison.Ordinal))
                    found.Add((from, to));
            }
        }

        return found;
    }

    private static IEnumerable<TypeReference?> Named(TypeDefinition type) =>
    [
        type.BaseType,
        .. type.Interfaces.Select(one => one.InterfaceType),
        .. type.GenericParameters.SelectMany(one => one.Constraints).Select(one => one.ConstraintType),
        .. type.CustomAttributes.SelectMany(Named),
        .. type.Fields.SelectMany(one => one.CustomAttributes.SelectMany(Named).Prepend(one.FieldType)),
        .. type.Properties.SelectMany(one => one.CustomAttributes.SelectMany(Named)),
        .. type.Methods.SelectMany(Named),
    ];

    private static IEnumerable<TypeReference?> Named(MethodDefinition method) =>
    [
        method.ReturnType,
        .. method.Parameters.Select(one => one.ParameterType),
        .. method.CustomAttributes.SelectMany(Named),
        .. method.HasBody ? method.Body.Variables.Select(one => one.VariableType) : [],
        .. method.HasBody ? method.Body.Instructions.SelectMany(Named) : [],
    ];

    private static IEnumerable<TypeReference?> Named(CustomAttribute attribute) =>
        attribute.ConstructorArguments.Select(one => one.Value as TypeReference).Prepend(attribute.AttributeType);

    private static IEnumerable<TypeReference?> Named(Instruction instruction) => instruction.Operand switch
    {
        TypeReference type => [type],
        GenericInstanceMethod method => [method.DeclaringType, method.ReturnType, .. method.GenericArguments],
        MethodReference method => [method.DeclaringType, method.ReturnType],
        FieldReference field => [field.DeclaringType, field.FieldType],
        _ => [],
    };

    private static IEnumerable<TypeReference> Parts(TypeReference? type) => type switch
    {
        null => [],
        GenericInstanceType generic => generic.GenericArguments.SelectMany(Parts).Append(generic.ElementType),
        TypeSpecification wrapped => Parts(wrapped.ElementType),
        _ => [type],
    };

    private static string Outermost(TypeReference type)
    {
        while (type.DeclaringType is not null)
            type = type.DeclaringType;
        return type.FullName;
    }
}

//! Arithmetic of expressions: integers and decimals are right or an error, floats have one zero and one NaN.
//!
//! DataFusion adds, subtracts, multiplies and negates integers with wrapping arithmetic, and does not check that a decimal
//! has no more digits than its type. It compares floats by their bits, and arithmetic makes new ones: 0.0 × −1 is −0.0, and
//! ∞ − ∞ is a NaN with a sign on some processors. Each such operator of an analysed plan is therefore replaced by a function
//! that computes the same and checks the result, and everything that computes a float is an argument of [`canonical_of`].
//! The same functions fold constants. The engine checks division, except for the digits of a decimal. Floats of sources are
//! canonical, so comparisons, groups, joins, sorts and set operations agree on which values are equal.

use crate::expressions::each_expression;
use crate::floats::canonical;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::kernels::numeric::{add, div, mul, neg, sub};
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, Field, FieldRef,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DataFusionError, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use std::sync::Arc;

/// The plan with checked arithmetic and canonical floats.
pub(crate) fn checked(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    each_expression(plan, &checked_expr)
}

/// A float that is computed, with one zero and one NaN.
pub(crate) fn canonical_of(computed: Expr, data_type: DataType) -> Expr {
    call(Does::Canonical, data_type, vec![computed])
}

/// Functions whose floats are canonical if those of their arguments are.
const CANONICAL: [&str; 6] = ["coalesce", "nullif", "nvl", "greatest", "least", "float_of_order"];

fn checked_expr(expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(binary) => return operator(binary, schema),
        Expr::Negative(inner) => match type_of(&inner, schema)? {
            result if result.is_integer() => Transformed::yes(call(Does::Negate, result, vec![*inner])),
            result if result.is_floating() => Transformed::yes(canonical_of(Expr::Negative(inner), result)),
            _ => Transformed::no(Expr::Negative(inner)),
        },
        Expr::Literal(value, metadata) => match canonical_value(&value) {
            // Floats in constants are equal if their bits are.
            Some(canonical) if canonical != value => Transformed::yes(Expr::Literal(canonical, metadata)),
            _ => Transformed::no(Expr::Literal(value, metadata)),
        },
        // A number that is not a float becomes a canonical one.
        Expr::Cast(cast) => match type_of(&cast.expr, schema) {
            Ok(from) if !is_number(&from) => canonical_float(Expr::Cast(cast), schema),
            _ => Transformed::no(Expr::Cast(cast)),
        },
        Expr::TryCast(cast) => canonical_float(Expr::TryCast(cast), schema),
        Expr::ScalarFunction(function) => {
            let is_canonical =
                function.func.inner().downcast_ref::<Checked>().is_some() || CANONICAL.contains(&function.func.name());
            let function = Expr::ScalarFunction(function);
            if is_canonical { Transformed::no(function) } else { canonical_float(function, schema) }
        }
        other => Transformed::no(other),
    })
}

fn operator(BinaryExpr { left, op, right }: BinaryExpr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let (Ok(first), Ok(second)) = (type_of(&left, schema), type_of(&right, schema)) else {
        return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
    };
    // The sum of a date and an interval, and the difference of dates, stay as they are.
    let does = match op {
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo
            if first.is_floating() && second.is_floating() =>
        {
            Does::Canonical
        }
        Operator::Plus if is_number(&first) && is_number(&second) => Does::Add,
        Operator::Minus if is_number(&first) && is_number(&second) => Does::Subtract,
        Operator::Multiply if is_number(&first) && is_number(&second) => Does::Multiply,
        Operator::Divide if is_decimal(&first) || is_decimal(&second) => Does::Divide,
        _ => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
    };
    let result = BinaryTypeCoercer::new(&first, &op, &second).get_result_type()?;
    Ok(Transformed::yes(match does {
        Does::Canonical => canonical_of(Expr::BinaryExpr(BinaryExpr { left, op, right }), result),
        does => call(does, result, vec![*left, *right]),
    }))
}

/// An expression, canonical if it is a float.
fn canonical_float(computed: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match computed.get_type(schema) {
        Ok(data_type) if data_type.is_floating() => Transformed::yes(canonical_of(computed, data_type)),
        _ => Transformed::no(computed),
    }
}

/// A constant float with one zero and one NaN.
fn canonical_value(value: &ScalarValue) -> Option<ScalarValue> {
    match value {
        ScalarValue::Float64(Some(v)) => Some(ScalarValue::Float64(Some(if v.is_nan() { f64::NAN } else { v + 0.0 }))),
        ScalarValue::Float32(Some(v)) => Some(ScalarValue::Float32(Some(if v.is_nan() { f32::NAN } else { v + 0.0 }))),
        _ => None,
    }
}

fn call(does: Does, result: DataType, args: Vec<Expr>) -> Expr {
    let signature = Signature::any(args.len(), Volatility::Immutable);
    let function = Arc::new(ScalarUDF::new_from_impl(Checked { does, result, signature }));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, args))
}

/// The type of an expression. A checked operator knows its type, which avoids recursion into deep operands.
fn type_of(expr: &Expr, schema: &DFSchema) -> DfResult<DataType> {
    if let Expr::ScalarFunction(function) = expr
        && let Some(checked) = function.func.inner().downcast_ref::<Checked>()
    {
        return Ok(checked.result.clone());
    }
    expr.get_type(schema)
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || is_decimal(data_type)
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Does {
    Add,
    Subtract,
    Multiply,
    Divide,
    Negate,
    /// Returns its argument, a float, with one zero and one NaN.
    Canonical,
}

/// One operator, or the canonical form of a float, with its result type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    does: Does,
    result: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.does {
            Does::Add => "+",
            Does::Subtract | Does::Negate => "-",
            Does::Multiply => "*",
            Does::Divide => "/",
            Does::Canonical => "canonical_float",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.result.clone())
    }

    // Like the operator's, so that no schema changes.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.result.clone(), nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let value = match (self.does, args.args.as_slice()) {
            (Does::Add, [left, right]) => apply(left, right, add)?,
            (Does::Subtract, [left, right]) => apply(left, right, sub)?,
            (Does::Multiply, [left, right]) => apply(left, right, mul)?,
            (Does::Divide, [left, right]) => apply(left, right, div)?,
            (Does::Negate, [value]) => of_each(value, |values| neg(values))?,
            (Does::Canonical, [value]) => of_each(value, |values| Ok(canonical(values)))?,
            _ => return Err(DataFusionError::Execution(format!("{} has other arguments", self.name()))),
        };
        match &value {
            ColumnarValue::Array(values) => check_digits(values)?,
            ColumnarValue::Scalar(value) => check_digits(&value.to_array()?)?,
        }
        Ok(value)
    }
}

fn of_each(value: &ColumnarValue, of: impl Fn(&ArrayRef) -> Result<ArrayRef, ArrowError>) -> DfResult<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(values) => ColumnarValue::Array(of(values)?),
        ColumnarValue::Scalar(value) => {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&of(&value.to_array()?)?, 0)?)
        }
    })
}

/// Fails if a decimal has more digits than the largest type. The analysis makes smaller types large enough.
fn check_digits(values: &dyn Array) -> DfResult<()> {
    match values.data_type() {
        DataType::Decimal128(DECIMAL128_MAX_PRECISION, _) => {
            values.as_primitive::<Decimal128Type>().validate_decimal_precision(DECIMAL128_MAX_PRECISION)?;
        }
        DataType::Decimal256(DECIMAL256_MAX_PRECISION, _) => {
            values.as_primitive::<Decimal256Type>().validate_decimal_precision(DECIMAL256_MAX_PRECISION)?;
        }
        _ => {}
    }
    Ok(())
}

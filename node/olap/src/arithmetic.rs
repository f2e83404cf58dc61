//! Checked arithmetic of integers and decimals: the right value, or an error.
//!
//! DataFusion adds, subtracts, multiplies and negates integers with wrapping arithmetic, and does not check that a decimal
//! has no more digits than its type. Each such operator of an analysed plan is therefore replaced by a function that
//! computes the same and checks the result. The same function folds constants. The engine checks division, except for
//! the digits of a decimal.

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::kernels::numeric::{add, div, mul, neg, sub};
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, Field, FieldRef,
};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use std::sync::Arc;

/// The plan with checked arithmetic.
pub(crate) fn checked(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let checked = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let checked = expr.transform_up(|e| operator(e, &schema))?;
            Ok(if checked.transformed { checked.update_data(|e| name.restore(e)) } else { checked })
        })
    })?;
    Ok(checked.data)
}

fn operator(expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let (does, args) = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (Ok(first), Ok(second)) = (type_of(&left, schema), type_of(&right, schema)) else {
                return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            };
            let types = (first, second);
            // The sum of a date and an interval, and the difference of dates, stay as they are.
            let is_checked = match op {
                Operator::Plus | Operator::Minus | Operator::Multiply => is_number(&types.0) && is_number(&types.1),
                Operator::Divide => is_decimal(&types.0) || is_decimal(&types.1),
                _ => false,
            };
            if !is_checked {
                return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            }
            let does = match op {
                Operator::Plus => Does::Add,
                Operator::Minus => Does::Subtract,
                Operator::Multiply => Does::Multiply,
                _ => Does::Divide,
            };
            ((does, BinaryTypeCoercer::new(&types.0, &op, &types.1).get_result_type()?), vec![*left, *right])
        }
        Expr::Negative(inner) => match type_of(&inner, schema)? {
            result if result.is_integer() => ((Does::Negate, result), vec![*inner]),
            _ => return Ok(Transformed::no(Expr::Negative(inner))),
        },
        other => return Ok(Transformed::no(other)),
    };
    let signature = Signature::any(args.len(), Volatility::Immutable);
    let checked = Checked { does: does.0, result: does.1, signature };
    let function = Arc::new(ScalarUDF::new_from_impl(checked));
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, args))))
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
}

/// One operator with its result type.
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
            (Does::Negate, [ColumnarValue::Array(values)]) => ColumnarValue::Array(neg(values)?),
            (Does::Negate, [ColumnarValue::Scalar(value)]) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&neg(&value.to_array()?)?, 0)?)
            }
            _ => return Err(DataFusionError::Execution(format!("{} has other arguments", self.name()))),
        };
        match &value {
            ColumnarValue::Array(values) => check_digits(values)?,
            ColumnarValue::Scalar(value) => check_digits(&value.to_array()?)?,
        }
        Ok(value)
    }
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

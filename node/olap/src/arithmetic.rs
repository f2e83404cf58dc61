//! Arithmetic of queries: integers that fit or fail, floats with one zero and one NaN.
//!
//! DataFusion adds, subtracts, multiplies and negates integers with wrapping arithmetic: the greatest BIGINT plus one is the
//! least. It compares floats by their bits, and arithmetic makes new ones: 0.0 × −1 is −0.0, and ∞ − ∞ is a NaN with a sign
//! on some processors. So integer operators become functions that fail on overflow, and whatever computes a float is
//! followed by [`canonical`]. Floats of sources are canonical already, so comparisons, groups, joins, sorts and set
//! operations agree on what is equal. A plan is changed after the rewrite to indexes.

use crate::floats::canonical;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::{GroupingSet, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::{Arc, LazyLock};

/// The analysed plan with checked integers and canonical floats.
pub(crate) fn checked(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    each_expression(plan, &checked_expr)
}

/// The plan with each expression changed from the leaves up, under its name.
pub(crate) fn each_expression(
    plan: LogicalPlan,
    change: &dyn Fn(Expr, &DFSchema) -> Transformed<Expr>,
) -> DfResult<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let whole = |expr: Expr| expr.transform_up(|e| Ok(change(e, &schema)));
        node.map_expressions(|expr| {
            if let Expr::GroupingSet(sets) = expr {
                return grouping_sets(sets, &|expr| {
                    let (relation, name) = expr.qualified_name();
                    let changed = whole(expr)?;
                    Ok(match changed.transformed {
                        true => changed.update_data(|e| e.alias_qualified(relation, name)),
                        false => changed,
                    })
                });
            }
            let name = names.save(&expr);
            let changed = whole(expr)?;
            Ok(if changed.transformed { changed.update_data(|e| name.restore(e)) } else { changed })
        })
    })?;
    Ok(changed.data)
}

/// A grouping set has no name; its members have.
fn grouping_sets(
    sets: GroupingSet,
    change: &dyn Fn(Expr) -> DfResult<Transformed<Expr>>,
) -> DfResult<Transformed<Expr>> {
    let mut transformed = false;
    let mut each = |list: Vec<Expr>| -> DfResult<Vec<Expr>> {
        let changed = list.into_iter().map(change).collect::<DfResult<Vec<_>>>()?;
        transformed |= changed.iter().any(|c| c.transformed);
        Ok(changed.into_iter().map(|c| c.data).collect())
    };
    let sets = match sets {
        GroupingSet::Rollup(list) => GroupingSet::Rollup(each(list)?),
        GroupingSet::Cube(list) => GroupingSet::Cube(each(list)?),
        GroupingSet::GroupingSets(lists) => {
            GroupingSet::GroupingSets(lists.into_iter().map(each).collect::<DfResult<_>>()?)
        }
    };
    let expr = Expr::GroupingSet(sets);
    Ok(if transformed { Transformed::yes(expr) } else { Transformed::no(expr) })
}

/// Functions whose result is one of their arguments.
const CHOOSING: [&str; 5] = ["coalesce", "nullif", "nvl", "greatest", "least"];

fn checked_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let type_of = |e: &Expr| e.get_type(schema).ok();
    match &expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let one = type_of(left).filter(|left| type_of(right).as_ref() == Some(left));
            let function = match (op, one) {
                (Operator::Plus, Some(of)) if of.is_integer() => &ADD,
                (Operator::Minus, Some(of)) if of.is_integer() => &SUBTRACT,
                (Operator::Multiply, Some(of)) if of.is_integer() => &MULTIPLY,
                (Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo, _)
                    if type_of(&expr).is_some_and(|of| of.is_floating()) =>
                {
                    return canonical_of(expr);
                }
                _ => return Transformed::no(expr),
            };
            call(function, vec![left.as_ref().clone(), right.as_ref().clone()])
        }
        Expr::Negative(inner) => match type_of(inner) {
            Some(of) if of.is_signed_integer() => call(&NEGATE, vec![inner.as_ref().clone()]),
            Some(of) if of.is_floating() => canonical_of(expr),
            _ => Transformed::no(expr),
        },
        Expr::Literal(value @ (ScalarValue::Float64(Some(_)) | ScalarValue::Float32(Some(_))), metadata) => {
            let canonical = match value {
                ScalarValue::Float64(Some(v)) => {
                    ScalarValue::Float64(Some(if v.is_nan() { f64::NAN } else { v + 0.0 }))
                }
                ScalarValue::Float32(Some(v)) => {
                    ScalarValue::Float32(Some(if v.is_nan() { f32::NAN } else { v + 0.0 }))
                }
                other => other.clone(),
            };
            // Equality of these is that of bits.
            match canonical == *value {
                true => Transformed::no(expr),
                false => Transformed::yes(Expr::Literal(canonical, metadata.clone())),
            }
        }
        Expr::Cast(cast) => {
            let exact = type_of(&cast.expr).is_none_or(|from| from.is_integer());
            if !exact && type_of(&expr).is_some_and(|of| of.is_floating()) {
                canonical_of(expr)
            } else {
                Transformed::no(expr)
            }
        }
        Expr::TryCast(_) if type_of(&expr).is_some_and(|of| of.is_floating()) => canonical_of(expr),
        Expr::ScalarFunction(function)
            if !CHOOSING.contains(&function.func.name()) && type_of(&expr).is_some_and(|of| of.is_floating()) =>
        {
            canonical_of(expr)
        }
        _ => Transformed::no(expr),
    }
}

fn call(function: &LazyLock<Arc<ScalarUDF>>, args: Vec<Expr>) -> Transformed<Expr> {
    let function = LazyLock::force(function).clone();
    Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
}

/// The float that the expression computes, with one zero and one NaN.
pub(crate) fn canonical_of(expr: Expr) -> Transformed<Expr> {
    call(&CANONICAL, vec![expr])
}

static ADD: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function("+", |args| numeric::add(&args[0], &args[1])));
static SUBTRACT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function("-", |args| numeric::sub(&args[0], &args[1])));
static MULTIPLY: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function("*", |args| numeric::mul(&args[0], &args[1])));
static NEGATE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function("negative", |args| numeric::neg(args[0].as_ref())));
static CANONICAL: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| function("canonical_float", |args| Ok(canonical(&args[0]))));

type Kernel = fn(&[ArrayRef]) -> Result<ArrayRef, datafusion::arrow::error::ArrowError>;

fn function(name: &'static str, kernel: Kernel) -> Arc<ScalarUDF> {
    let signature = Signature::variadic_any(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Arithmetic { name, kernel, signature }))
}

/// A function of arguments of one type, with a result of that type. Its name tells what it computes.
#[derive(Debug)]
struct Arithmetic {
    name: &'static str,
    kernel: Kernel,
    signature: Signature,
}

impl PartialEq for Arithmetic {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Arithmetic {}

impl std::hash::Hash for Arithmetic {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let none = || DataFusionError::Internal(format!("{} has no arguments", self.name));
        types.first().cloned().ok_or_else(none)
    }

    // As the operator's, so that no schema changes.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name, self.return_type(&types)?, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let parts = args.args.iter().map(|arg| arg.to_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let result = (self.kernel)(&parts)?;
        Ok(if is_constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

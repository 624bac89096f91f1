//! A plot of one world: mean detection time against mistakes a day, the latter in powers of ten.

use std::fmt::Write as _;

use super::curves::{Curve, Point};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
const COLOURS: [&str; 7] = ["#7f7f7f", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf"];
const OURS: &str = "#d62728";

/// A detector as one point: its name, where it stands.
pub(super) type Mark = (String, Point);

/// Where the plot's values lie.
struct Axes {
    right: f64,
    /// Powers of ten.
    low: i32,
    high: i32,
}

impl Axes {
    fn of(points: impl Iterator<Item = Point> + Clone) -> Self {
        let right = points.clone().map(|(x, _)| x).fold(0.0, f64::max);
        let powers = points.map(|(_, y)| y).filter(|y| *y > 0.0).map(f64::log10);
        let low = powers.clone().fold(f64::INFINITY, f64::min).min(0.0);
        let high = powers.fold(f64::NEG_INFINITY, f64::max).max(low + 1.0);
        Self { right, low: low.floor() as i32, high: high.ceil() as i32 }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + value / self.right * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let part = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
    }
}

/// A step of 1, 2 or 5 times a power of ten of which about eight fit.
fn step(length: f64) -> f64 {
    let power = 10_f64.powf((length / 8.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| length / step <= 8.0).unwrap_or(length)
}

/// The plot. The first mark is the subject's. Who made no mistake is not on a logarithmic axis, and is left out.
pub(super) fn plot(title: &str, curves: &[Curve], marks: &[Mark]) -> String {
    let shown = |point: &Point| point.1 > 0.0;
    let on_curves = curves.iter().flat_map(|curve| curve.points.iter().copied());
    let axes = Axes::of(on_curves.chain(marks.iter().map(|(_, point)| *point)));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{}</text>\n",
        escaped(title)
    );
    grid(&mut text, &axes);
    for (curve, colour) in curves.iter().zip(COLOURS) {
        let points = curve.points.iter().filter(|point| shown(point));
        let points: Vec<_> = points.map(|(x, y)| format!("{:.1},{:.1}", axes.x(*x), axes.y(*y))).collect();
        let points = points.join(" ");
        let _ =
            writeln!(text, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>");
    }
    for (number, (_, (x, y))) in marks.iter().enumerate().filter(|(_, (_, point))| shown(point)).rev() {
        let (colour, radius) = mark_style(number);
        let (x, y) = (axes.x(*x), axes.y(*y));
        let _ = writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>");
    }
    legend(&mut text, curves, marks);
    text.push_str("</svg>\n");
    text
}

fn mark_style(number: usize) -> (&'static str, u8) {
    if number == 0 { (OURS, 6) } else { ("#000", 4) }
}

fn grid(text: &mut String, axes: &Axes) {
    let (bottom, end) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for power in axes.low..=axes.high {
        let value = 10_f64.powi(power);
        let (y, label) = (axes.y(value), LEFT - 8.0);
        let _ = writeln!(text, "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>");
        let _ = writeln!(text, "<text x=\"{label}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>", y + 4.0);
    }
    let step = step(axes.right);
    for number in 0..=8 {
        let value = f64::from(number) * step;
        if value > axes.right {
            break;
        }
        let x = axes.x(value);
        let _ = writeln!(text, "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#ddd\"/>");
        let shown = (value * 1000.0).round() / 1000.0;
        let _ = writeln!(text, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{shown}</text>", bottom + 18.0);
    }
    let (middle, below) = ((LEFT + end) / 2.0, HEIGHT - 12.0);
    let _ = writeln!(text, "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">mean detection time, s</text>");
    let middle = (TOP + bottom) / 2.0;
    let _ = writeln!(
        text,
        "<text transform=\"translate(18 {middle}) rotate(-90)\" text-anchor=\"middle\">mistakes a day</text>"
    );
}

fn legend(text: &mut String, curves: &[Curve], marks: &[Mark]) {
    let x = WIDTH - RIGHT + 16.0;
    let mut y = TOP + 10.0;
    for (number, (name, (_, mistakes))) in marks.iter().enumerate() {
        let (colour, radius) = mark_style(number);
        let none = if *mistakes > 0.0 { "" } else { " (no mistake)" };
        let _ = writeln!(text, "<circle cx=\"{}\" cy=\"{}\" r=\"{radius}\" fill=\"{colour}\"/>", x + 8.0, y - 4.0);
        let _ = writeln!(text, "<text x=\"{}\" y=\"{y}\">{}{none}</text>", x + 24.0, escaped(name));
        y += 20.0;
    }
    for (curve, colour) in curves.iter().zip(COLOURS) {
        let (to, line) = (x + 16.0, y - 4.0);
        let _ = writeln!(
            text,
            "<line x1=\"{x}\" y1=\"{line}\" x2=\"{to}\" y2=\"{line}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        let _ = writeln!(text, "<text x=\"{}\" y=\"{y}\">{}</text>", x + 24.0, escaped(&curve.detector));
        y += 20.0;
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stand_where_their_values_are() {
        let curves = [Curve { detector: "a < b".to_owned(), points: vec![(1.0, 100.0), (2.0, 1.0), (2.5, 0.0)] }];
        let text = plot("W1", &curves, &[("ours".to_owned(), (5.0, 10.0)), ("none".to_owned(), (1.0, 0.0))]);
        // The axis ends at 5 s; the powers go from 0 to 2.
        assert!(text.contains("<polyline points=\"168.0,40.0 266.0,390.0\""), "{text}");
        assert!(text.contains("<circle cx=\"560.0\" cy=\"215.0\" r=\"6\" fill=\"#d62728\"/>"), "{text}");
        assert!(text.contains("a &lt; b") && text.contains("none (no mistake)"), "{text}");
        assert_eq!(text.matches("<polyline").count(), 1);
        assert!(text.ends_with("</svg>\n"));
    }

    #[test]
    fn steps_are_round() {
        for (length, wanted) in [(2.3, 0.5), (0.8, 0.1), (9.0, 2.0), (40.0, 5.0)] {
            assert!((step(length) - wanted).abs() < 1e-9, "{length}: {}", step(length));
        }
    }
}

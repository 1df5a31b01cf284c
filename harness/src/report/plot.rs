//! Plots as inline SVG: lines over time, curves of percentiles, and bars of faults on the time axis. Colours are
//! variables of the page, so that one picture serves dark and light.

use std::fmt::Write;

/// One line of a plot.
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Points, in ascending x.
    pub points: Vec<(f64, f64)>,
}

/// A plot of lines.
pub struct Chart<'a> {
    /// What is shown.
    pub title: &'a str,
    /// Unit of y.
    pub unit: &'a str,
    /// What the title cannot say: a slope, a hint. May be empty.
    pub caption: String,
    /// The largest x, in seconds; 0 where x is no time.
    pub seconds: f64,
    /// Names of the steps of x where it is no time.
    pub steps: &'a [&'a str],
    /// Whether y grows by factors of ten.
    pub log: bool,
    /// The lines, at most six.
    pub lines: Vec<Line>,
}

/// A bar on the time axis.
pub struct Bar {
    /// Its row.
    pub row: String,
    /// From which second.
    pub from: f64,
    /// To which second.
    pub to: f64,
    /// What it says when pointed at.
    pub says: String,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// Text that may stand in a page.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number as people read it, with three digits that count.
#[must_use]
pub fn short(value: f64) -> String {
    let size = value.abs();
    let (divided, suffix) = match size {
        s if s >= 1e9 => (value / 1e9, "G"),
        s if s >= 1e6 => (value / 1e6, "M"),
        s if s >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match divided.abs() {
        d if d >= 100.0 || d.fract() == 0.0 => 0,
        d if d >= 10.0 => 1,
        _ => 2,
    };
    format!("{divided:.digits$}{suffix}")
}

/// Seconds as people read them.
#[must_use]
pub fn clock(seconds: f64) -> String {
    match seconds {
        s if s >= 3600.0 => format!("{:.1} h", s / 3600.0),
        s if s >= 120.0 => format!("{:.1} min", s / 60.0),
        s => format!("{s:.0} s"),
    }
}

impl Chart<'_> {
    /// The plot as a figure.
    #[must_use]
    pub fn figure(&self) -> String {
        let lines: Vec<&Line> = self.lines.iter().filter(|line| !line.points.is_empty()).collect();
        let mut out = format!("<figure class=\"plot\"><figcaption><b>{}</b>", escape(self.title));
        if !self.caption.is_empty() {
            let _ = write!(out, " <span>{}</span>", escape(&self.caption));
        }
        out.push_str("</figcaption>");
        if lines.is_empty() {
            out.push_str("<p class=\"none\">nothing was measured</p></figure>");
            return out;
        }
        let label = escape(self.title);
        let _ = write!(out, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">");
        let scale = Scale::of(self, &lines);
        scale.axes(self, &mut out);
        for (at, line) in lines.iter().enumerate() {
            let path: Vec<String> =
                line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", scale.x(*x), scale.y(*y))).collect();
            let _ = write!(out, "<polyline class=\"line c{at}\" points=\"{}\"/>", path.join(" "));
            if line.points.len() < 60 {
                for (x, y) in &line.points {
                    let (cx, cy) = (scale.x(*x), scale.y(*y));
                    let says = format!("{}: {} {}", escape(&line.name), short(*y), escape(self.unit));
                    let _ = write!(
                        out,
                        "<circle class=\"dot d{at}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"2.5\"><title>{says}</title></circle>"
                    );
                }
            }
        }
        out.push_str("</svg><p class=\"legend\">");
        for (at, line) in lines.iter().enumerate() {
            let _ = write!(out, "<span><i class=\"b{at}\"></i>{}</span>", escape(&line.name));
        }
        out.push_str("</p></figure>");
        out
    }
}

struct Scale {
    x: (f64, f64),
    y: (f64, f64),
    log: bool,
}

impl Scale {
    fn of(chart: &Chart<'_>, lines: &[&Line]) -> Scale {
        let all = || lines.iter().flat_map(|line| line.points.iter());
        let high = all().map(|(_, y)| *y).fold(0.0_f64, f64::max);
        let low = all().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
        let right = all().map(|(x, _)| *x).fold(chart.seconds, f64::max).max(1.0);
        let y = if chart.log {
            let floor = 10_f64.powf(low.max(0.01).log10().floor());
            (floor, 10_f64.powf(high.max(floor * 10.0).log10().ceil()))
        } else {
            (0.0, if high > 0.0 { high * 1.08 } else { 1.0 })
        };
        Scale { x: (0.0, right), y, log: chart.log }
    }

    fn x(&self, x: f64) -> f64 {
        LEFT + (x - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, y: f64) -> f64 {
        let share = if self.log {
            let (low, high) = (self.y.0.log10(), self.y.1.log10());
            (y.max(self.y.0).log10() - low) / (high - low)
        } else {
            (y - self.y.0) / (self.y.1 - self.y.0)
        };
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    fn axes(&self, chart: &Chart<'_>, out: &mut String) {
        let mut ticks = Vec::new();
        if self.log {
            let mut tick = self.y.0;
            while tick <= self.y.1 * 1.001 {
                ticks.push(tick);
                tick *= 10.0;
            }
        } else {
            let step = nice(self.y.1 / 4.0);
            ticks.extend((0..6).map(|n| f64::from(n) * step).filter(|tick| *tick <= self.y.1));
        }
        for tick in ticks {
            let y = self.y(tick);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                short(tick)
            );
        }
        let unit = escape(chart.unit);
        let middle = HEIGHT / 2.0;
        let _ = write!(
            out,
            "<text class=\"tick\" transform=\"translate(12 {middle}) rotate(-90)\" text-anchor=\"middle\">{unit}</text>"
        );
        if chart.steps.is_empty() {
            time_axis(self.x.1, HEIGHT - 8.0, &|x| self.x(x), out);
        }
        for (at, step) in (0_u32..).zip(chart.steps) {
            let x = self.x(f64::from(at));
            let anchor = if at == 0 {
                "start"
            } else if at as usize + 1 == chart.steps.len() {
                "end"
            } else {
                "middle"
            };
            let _ = write!(
                out,
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                HEIGHT - 8.0,
                escape(step)
            );
        }
    }
}

fn time_axis(seconds: f64, y: f64, at: &dyn Fn(f64) -> f64, out: &mut String) {
    for n in 0..=4 {
        let x = seconds * f64::from(n) / 4.0;
        let anchor = ["start", "middle", "middle", "middle", "end"][n as usize];
        let said = clock(x);
        let _ = write!(
            out,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{said}</text>",
            at(x)
        );
    }
}

/// The next of 1, 2, 5 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let factor = value / power;
    let nice = if factor <= 1.0 {
        1.0
    } else if factor <= 2.0 {
        2.0
    } else if factor <= 5.0 {
        5.0
    } else {
        10.0
    };
    nice * power
}

/// Bars on the time axis, one row per name, in the order in which they first appear.
#[must_use]
pub fn timeline(title: &str, seconds: f64, bars: &[Bar]) -> String {
    let mut rows: Vec<&str> = Vec::new();
    for bar in bars {
        if !rows.contains(&bar.row.as_str()) {
            rows.push(&bar.row);
        }
    }
    let mut out = format!("<figure class=\"plot\"><figcaption><b>{}</b></figcaption>", escape(title));
    if rows.is_empty() {
        return out + "<p class=\"none\">nothing happened</p></figure>";
    }
    let (row, left) = (18.0, 110.0);
    let count: f64 = rows.iter().map(|_| 1.0).sum();
    let height = count * row + BOTTOM;
    let x = |at: f64| left + at / seconds.max(1.0) * (WIDTH - left - RIGHT);
    let label = escape(title);
    let _ = write!(out, "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">");
    let mut y = 0.0;
    for name in rows {
        let middle = y + row / 2.0;
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{}\" y1=\"{middle}\" y2=\"{middle}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            left - 8.0,
            middle + 4.0,
            escape(name)
        );
        let class = if name == "violations" { "bad" } else { "bar" };
        for bar in bars.iter().filter(|bar| bar.row == name) {
            let width = (x(bar.to) - x(bar.from)).max(2.0);
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{}\" rx=\"1\"><title>{}</title></rect>",
                x(bar.from),
                y + 4.0,
                row - 8.0,
                escape(&bar.says)
            );
        }
        y += row;
    }
    time_axis(seconds, height - 8.0, &x, &mut out);
    out + "</svg></figure>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        let all = [0.0, 1.5, 12.34, 123.4, 1234.0, 12_345.0, 5e6, 2.5e9].map(short);
        assert_eq!(all, ["0", "1.50", "12.3", "123", "1234", "12.3k", "5M", "2.50G"]);
    }

    #[test]
    fn what_came_from_outside_cannot_become_markup() {
        let bars = [Bar { row: "<b>".to_owned(), from: 0.0, to: 1.0, says: "\"><script>".to_owned() }];
        let figure = timeline("a & b", 10.0, &bars);
        assert!(!figure.contains("<script>") && !figure.contains("<b><") && figure.contains("a &amp; b"));
    }

    #[test]
    fn every_point_lies_inside_the_picture() {
        let line = Line { name: "l".to_owned(), points: vec![(0.0, 0.001), (5.0, 1e6), (10.0, 3.0)] };
        let chart = Chart {
            title: "t",
            unit: "ms",
            caption: String::new(),
            seconds: 10.0,
            steps: &[],
            log: true,
            lines: vec![line],
        };
        let figure = chart.figure();
        let points = figure.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        for point in points.split(' ') {
            let (x, y) = point.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((0.0..=WIDTH).contains(&x) && (0.0..=HEIGHT).contains(&y), "{point}");
        }
    }
}

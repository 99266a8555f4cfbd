# gnuplot probe-messages.gp: what build/release/bin/probe_messages --rings 100 printed.
set terminal svg size 720,440 font "sans-serif,13" background "white"
set output "probe-messages.svg"
set title "Probes per deadlock, each transaction at a coordinator of its own"
set xlabel "length of the ring"
set ylabel "probes"
set logscale xy 2
set key left top
set grid
$data << EOD
2 2 4 4 2 2
4 4 16 16 5.41 5.333
8 8 64 64 14.64 14.743
16 16 256 256 39.44 39.092
32 32 1024 1024 97.38 98.872
48 48 2304 2304 169.22 167.022
64 64 4096 4096 250.93 240.609
EOD
plot $data using 1:4 with lines lc "gray40" title "n^2", \
     $data using 1:3 with points pt 7 lc "red" title "all start at once", \
     $data using 1:6 with lines lc "gray70" title "n·H(n) - (n - 1)", \
     $data using 1:5 with points pt 5 lc "blue" title "all at once, past smaller ids only", \
     $data using 1:2 with points pt 9 lc "dark-green" title "the last wait starts"
